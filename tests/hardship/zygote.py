"""A warm process: it has imported everything, and forks a process of its own for each command that it is told to run.

Requests and answers are lines of JSON: {"run": {…}} answers {"pid": n}; {"wait": n} answers {"status": n}.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from masactrl_video.cli.main import main
from masactrl_video.jobs import render_clip
from masactrl_video.jobs.run.report import Report
from masactrl_video.sources import source

assert render_clip

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        elif "import" in request:
            answer = {"imported": import_all(request["import"])}
        else:
            pid = os.fork()
            if pid == 0:
                run(**request["run"])
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


def import_all(names: list[str]) -> int:
    """Import what an earlier command has imported late."""
    missing = [name for name in names if name not in sys.modules and not name.startswith("__")]
    for name in missing:
        try:
            importlib.import_module(name)
        except Exception:
            continue
    return len(missing)


def run(argv: list[str], folder: str, name: str, fail_writes_after: int | None, as_anybody: bool) -> None:
    """Be the process of one command."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    os.chdir(folder)
    for number, mode, path in ((0, "r", os.devnull), (1, "w", f"{name}.out"), (2, "w", f"{name}.err")):
        with Path(path).open(mode) as file:
            os.dup2(file.fileno(), number)
    begins = observe_stages(Path(f"{name}.stages").absolute())
    if fail_writes_after is not None:
        fill_disk_after(fail_writes_after)
    if as_anybody:
        drop_roots_rights()
    status = main(argv)
    begins("end")
    Path(f"{name}.modules").write_text(json.dumps(sorted(sys.modules)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def observe_stages(path: Path) -> Callable[[str], None]:
    """Write down when each stage begins."""

    def begins(stage: str) -> None:
        with path.open("a") as file:
            file.write(f"{time.monotonic()} {stage}\n")

    def stage(self: Report, name: str) -> Any:
        begins(name)
        return timed(self, name)

    def invert(*arguments: Any) -> Any:
        begins("inversion")
        trajectory = inverted(*arguments)
        begins("caching")
        return trajectory

    timed, Report.stage = Report.stage, stage  # type: ignore[method-assign, assignment]
    inverted, source.invert = source.invert, invert  # type: ignore[attr-defined]
    return begins


def fill_disk_after(count: int) -> None:
    """From the given write on, the disk is full."""
    left = iter(range(count))

    def fsync(handle: int) -> None:
        if next(left, None) is None:
            raise OSError(28, os.strerror(28))
        real(handle)

    real, os.fsync = os.fsync, fsync  # type: ignore[assignment]


def drop_roots_rights() -> None:
    """Root no longer passes every permission, as everybody else."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    rights = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    libc.capget(header, rights)
    for place in (0, 1):
        rights[place] &= ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)
    if libc.capset(header, rights):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    serve()
    os._exit(0)  # nothing to tidy up
