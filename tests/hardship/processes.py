"""Real processes that run the command line, to be killed, stopped and left without disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import masactrl_video

STAGES = ("guidance", "inversion", "caching", "render", "encode")
LIMIT_SECONDS = 240


class Zygote:
    """The warm process that forks the others."""

    def __init__(self) -> None:
        package = Path(masactrl_video.__file__).parents[1]
        tests = Path(__file__).parents[1]
        environment = {**os.environ, "PYTHONPATH": f"{package}:{tests}", "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self._running: set[int] = set()

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        self._running |= {answer["pid"]} if "pid" in answer else set()
        self._running -= {request.get("wait")}
        return answer

    def close(self) -> None:
        for pid in self._running:  # of tests that failed
            os.kill(pid, signal.SIGKILL)
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)


@dataclass
class Command:
    """A command that runs, or has run."""

    zygote: Zygote
    folder: Path
    name: str
    pid: int

    def wait(self) -> int:
        """Its exit status; negative: the signal that ended it."""
        return int(self.zygote.ask(wait=self.pid)["status"])

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    @property
    def out(self) -> str:
        return (self.folder / f"{self.name}.out").read_text()

    @property
    def err(self) -> str:
        path = self.folder / f"{self.name}.err"
        return path.read_text() if path.exists() else ""

    @property
    def stages(self) -> dict[str, float]:
        """Stage → when it began."""
        path = self.folder / f"{self.name}.stages"
        lines = path.read_text().splitlines() if path.exists() else []
        return {stage: float(when) for when, _, stage in (line.partition(" ") for line in lines)}

    @property
    def alive(self) -> bool:
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"

    def reaches(self, *stages: str) -> bool:
        """Wait for one of these stages; False when the command ends before."""
        return self._sees(lambda: any(stage in self.stages for stage in stages))

    def says(self, words: str) -> bool:
        """Wait until it has said something on stderr; False when it ends before."""
        return self._sees(lambda: words in self.err)

    def _sees(self, condition: Any) -> bool:
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            alive = self.alive
            if condition():
                return True
            if not alive:
                return False
            time.sleep(0.001)
        self.send(signal.SIGKILL)
        raise TimeoutError(f"{self.name}: {self.err}")
