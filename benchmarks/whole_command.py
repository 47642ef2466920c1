"""The whole command on a clip: the share of its time in the UNet and the ControlNet; and how soon help answers."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

_COMMAND = "import sys; from masactrl_video.cli.main import main; sys.exit(main())"


def measure_help(rounds: int) -> float:
    """Seconds until `masactrl-video --help` has answered, median."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", _COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure_imports() -> float:
    """CPU time until a process has imported diffusers' own ControlNet pipeline: what any program on it begins with."""
    work = "import time; from diffusers import StableDiffusionControlNetPipeline; print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", work], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def measure_command(clip: Path, arguments: list[str]) -> dict[str, Any]:
    """`masactrl-video render CLIP` in a process of its own, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        output = [str(clip), "-q", "-o", f"{folder}/out.mp4", "--cache-dir", f"{folder}/cache", *arguments]
        started = time.time()
        subprocess.run([sys.executable, __file__, str(figures), str(started), *output], check=True)
        found: dict[str, Any] = json.loads(figures.read_text())
        report = json.loads(Path(folder, "out", "report.json").read_text())
        whole_seconds = time.time() - started
    return found | {
        "whole_seconds": whole_seconds,
        "stages": report["seconds"],
        "import_cpu_seconds": measure_imports(),
    }


@contextmanager
def counting(networks: tuple[str, ...] = ("UNet2DConditionModel", "ControlNetModel")) -> Iterator[dict[str, float]]:
    """Inside, the time of all forward passes of these networks is added up: on the clock and in CPU time."""
    spent, begun = {"network_seconds": 0.0, "network_cpu_seconds": 0.0}, [0.0, 0.0]

    def before(module: torch.nn.Module, *_: Any) -> None:
        if type(module).__name__ in networks:
            begun[:] = time.perf_counter(), time.process_time()

    def after(module: torch.nn.Module, *_: Any) -> None:
        if type(module).__name__ in networks:
            spent["network_seconds"] += time.perf_counter() - begun[0]
            spent["network_cpu_seconds"] += time.process_time() - begun[1]

    hooks = [
        torch.nn.modules.module.register_module_forward_pre_hook(before),
        torch.nn.modules.module.register_module_forward_hook(after),
    ]
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def main() -> None:
    """FIGURES STARTED ARGUMENTS...: run the command and write what was spent."""
    from masactrl_video.cli.main import main as command

    with counting() as spent:
        status = command(["render", *sys.argv[3:]])
    cpu = time.process_time()  # since this process began, with all that it imports
    before = time.time() - float(sys.argv[2])
    Path(sys.argv[1]).write_text(json.dumps(spent | {"cpu_seconds": cpu, "seconds": before}))
    sys.exit(status)


if __name__ == "__main__":
    main()
