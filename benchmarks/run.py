"""All figures of this package's speed in one table: ``python benchmarks/run.py`` → results.md (and results.json).

Each part is measured in a process of its own and written when it is done; a part that is not measured again keeps the
figures of its last time, under the command and the versions that made them. `--only frames feed` measures some parts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import masactrl_video

HERE = Path(__file__).resolve().parent
WEIGHTS = Path(masactrl_video.__file__).parent / "demo" / "weights"
SHAPES = {
    "SD-1.5 512x512": ("SD-1.5", "512x512"),
    "SD-1.5 768x448": ("SD-1.5", "768x448"),
    "SDXL 1024x1024": ("SDXL", "1024x1024"),
}
ON_GPU = {f"GPU {name}": shape for name, shape in SHAPES.items()}
"""The same on a GPU: measured where there is one."""
LARGE = ("SDXL 1024x1024",)
"""Shapes that need 20 GB of memory: measured where they are named with `--only`."""
MEMORY = [("SD-1.5", "512x512", 1), ("SD-1.5", "512x512", 4), ("SDXL", "1024x1024", 1), ("SDXL", "1024x1024", 4)]
"""Model, size and frames a batch whose memory on a GPU is counted."""


def frames(a: argparse.Namespace) -> Any:
    """The demo model against diffusers, and against the source recomputed with each frame."""
    from demo_frames import measure_frames

    return measure_frames(a.weights, a.steps, a.rounds)


def feed(a: argparse.Namespace) -> Any:
    """The cache streamed from the disk against held in memory."""
    from demo_frames import measure_feed

    return measure_feed(a.weights, a.steps, a.rounds)


def options(a: argparse.Namespace) -> Any:
    """What is not exact: time saved, and distance from the exact frames."""
    from demo_frames import measure_options

    return measure_options(a.weights, a.steps, a.rounds, a.output.with_name("options.png"))


def decoding(a: argparse.Namespace) -> Any:
    """Decoding in tiles, and by a tiny autoencoder."""
    from demo_frames import measure_decoding

    return measure_decoding(a.weights, a.rounds, a.output.with_name("decoding.png"))


def length(a: argparse.Namespace) -> Any:
    """A long clip against short ones."""
    from length import measure_length

    return measure_length(a.short_clip, a.long_clip)


def memory(a: argparse.Namespace) -> Any:
    """Peak memory beside diffusers'."""
    return {way: _in_own_process(a, "one_memory", ["--way", way]) for way in ("plain", "ours")}


def one_memory(a: argparse.Namespace) -> Any:
    """One process of `memory`."""
    from memory import measure_memory

    return measure_memory(a.weights, a.steps, a.way)


def command(a: argparse.Namespace) -> Any:
    """The whole command, and its help."""
    from whole_command import measure_command, measure_help

    clip = HERE.parent / "examples" / "clip.mp4"
    some = [] if a.command_frames is None else ["--frame-load-cap", str(a.command_frames)]
    return measure_command(clip, ["--num-inference-steps", str(a.steps), *some]) | {
        "help_seconds": measure_help(max(3, a.rounds))
    }


def bounds(a: argparse.Namespace) -> Any:
    """Operations and bytes of a step, and the machine's rates."""
    from bounds import count, count_family, machine_rates
    from demo_model import MASA_LAYER, load_clip

    clip = load_clip(a.weights, 1, 1)
    model = clip.model
    size = model.latent_size(*clip.pictures.shape[1:3])
    rates = machine_rates()
    demo = count(model.unet, model.networks[0].module, size, model.vae_scale_factor, MASA_LAYER)  # type: ignore[arg-type]
    shapes = {name: count_family(kind, *map(int, px.split("x"))) for name, (kind, px) in SHAPES.items()}
    return {"rates": rates, "shapes": {"demo": demo, **shapes}}


def gpu_memory(_: argparse.Namespace) -> Any:
    """What a GPU must hold, counted on shapes without values."""
    from gpu_memory import count_memory, most

    rows = []
    for kind, px, frames in MEMORY:
        width, height = map(int, px.split("x"))
        found = count_memory(kind, width, height, frames)
        rows.append({"model": f"{kind} {px}", "frames": frames, **found})
        rows[-1] |= {"most": most(found, offload=False), "most_offloaded": most(found, offload=True)}
    return rows


def on_gpu(a: argparse.Namespace) -> Any:
    """A real shape on a GPU, with all its steps."""
    from on_gpu import measure_on_gpu

    return measure_on_gpu(*ON_GPU[a.part], a.tokenizer, a.gpu_steps, a.rounds)


def shape(a: argparse.Namespace) -> Any:
    """A real shape."""
    from shape_frames import measure_shape

    return measure_shape(*SHAPES[a.part], a.tokenizer, a.shape_steps, a.shape_rounds)


PARTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    part.__name__: part for part in (frames, feed, options, decoding, memory, length, command, bounds, gpu_memory)
} | {**dict.fromkeys(SHAPES, shape), **dict.fromkeys(ON_GPU, on_gpu)}
HIDDEN = {"one_memory": one_memory}


def _in_own_process(a: argparse.Namespace, part: str, more: list[str]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, str(HERE / "run.py"), *a.argv, "--part", part, "--figures", str(file), *more]
        subprocess.run(command, check=True)
        return json.loads(file.read_text())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, metavar="PART", help=f"parts to measure: {', '.join(PARTS)}")
    add("--rounds", type=int, default=5, help="rounds of everything but the real shapes")
    add("--steps", type=int, default=20, help="denoising steps of the demo model")
    add("--weights", type=Path, default=WEIGHTS, help="folder of the demo model")
    add("--command-frames", type=int, metavar="N", help="frames of the clip for the whole command (default: all)")
    add("--short-clip", type=int, default=100, metavar="FRAMES")
    add("--long-clip", type=int, default=10_000, metavar="FRAMES")
    add("--shape-steps", type=int, default=1, help="denoising steps of the real shapes")
    add("--shape-rounds", type=int, default=2, help="rounds of the real shapes")
    add("--gpu-steps", type=int, default=50, help="denoising steps of the real shapes on a GPU")
    add("--tokenizer", type=Path, default=WEIGHTS / "tokenizer", help="folder of a CLIP tokenizer, for the real shapes")
    add("--output", type=Path, default=HERE / "results.md", help="table to write; .json beside it")
    for hidden, kind in (("--part", str), ("--figures", Path), ("--way", str)):
        add(hidden, type=kind, help=argparse.SUPPRESS)
    found = parser.parse_args()
    found.argv = [word for word in sys.argv[1:] if found.part is None]
    return found


def main() -> None:
    """Measure and write, part by part."""
    a = _arguments()
    if a.part is not None:
        a.argv = sys.argv[1 : sys.argv.index("--part")]
        a.figures.write_text(json.dumps((PARTS | HIDDEN)[a.part](a)))
        return
    import torch
    from results import about, as_markdown

    store = a.output.with_suffix(".json")
    results: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
    without = {*LARGE, *(() if torch.cuda.is_available() else ON_GPU)}
    for part in a.only or [part for part in PARTS if part not in without]:
        results[part] = {"figures": _in_own_process(a, part, []), "about": about()}
        store.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        a.output.write_text(as_markdown(results), encoding="utf-8")
    print(a.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
