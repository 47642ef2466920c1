"""Inputs that somebody made up or spoiled, for hypothesis; and what must not happen while they are read."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from masactrl_video.cli.main import main

LIMIT_SECONDS = 60
"""A slow machine reads each of these in less than one."""

_HUGE = "a number of 5000 digits"
_NASTY = ["", "../../secret", "/etc/passwd", "a\x00b", "\x1b[2J", "..", "CON", "http://127.0.0.1:9/x", "é" * 300, _HUGE]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**300]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(_NASTY),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def as_json(data: Any) -> str:
    """As text; with numbers that Python itself does not write."""
    return json.dumps(data).replace(f'"{_HUGE}"', "1" * 5000)


def as_yaml(data: Any) -> str:
    """As text; with a number whose digits Python does not write."""
    return yaml.safe_dump(data).replace(_HUGE, "0x" + "f" * 5000)


@st.composite
def spoiled(draw: st.DrawFn, good: Any) -> Any:
    """Good data with one to three things in it changed, lost or added."""
    data = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(data))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        action = draw(st.sampled_from(["change", "change", "lose", "add", "double"]))
        if action == "change":
            holder[key] = draw(values)
        elif action == "lose":
            del holder[key]
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(_NASTY) | st.text(max_size=8))] = draw(values)
        else:
            holder.extend(holder[:] if action == "double" else [draw(values)])
    return data


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield data, key
        yield from _places(value)


@st.composite
def torn(draw: st.DrawFn, text: str) -> bytes:
    """The bytes of a good file with some of them changed, or only its beginning."""
    data = bytearray(text.encode())
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def files_like(good: Any, write: Callable[[Any], str]) -> st.SearchStrategy[bytes]:
    """Files that are spoiled in their content, torn in their bytes, or have nothing of a good one."""
    return st.one_of(
        spoiled(good).map(lambda data: write(data).encode("utf-8", "surrogatepass")),
        spoiled(good).map(lambda data: write(data).encode("utf-8", "surrogatepass")),
        torn(write(good)),
        values.map(lambda data: write(data).encode("utf-8", "surrogatepass")),
        st.binary(max_size=60),
        st.text("&*!<>:-[]{}'\"\n #|%@`a0~?,.", max_size=60).map(str.encode),
    )


@dataclass
class Watch:
    """What this process opens, while it is on."""

    folder: Path | None = None
    """Where files may be written; off while None."""
    forbidden: list[str] = field(default_factory=list)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook (PEP 578)."""
        if self.folder is None:
            return
        if event in ("subprocess.Popen", "os.system", "os.exec", "socket.connect", "pickle.find_class"):
            self.forbidden.append(f"{event} {arguments}")
        for path in _written(event, arguments):
            inside = Path(os.path.normpath(Path(path).absolute())).is_relative_to(self.folder)
            if not inside and "__pycache__" not in path and path != os.devnull:
                self.forbidden.append(f"{event} {path}")


def _written(event: str, arguments: tuple[Any, ...]) -> list[str]:
    """The paths that an event writes to, makes or removes."""
    if event == "open":
        writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return [os.fsdecode(arguments[0])] if writes and isinstance(arguments[0], str | bytes) else []
    if event in ("os.rename", "os.link", "os.symlink"):
        return [os.fsdecode(path) for path in arguments[:2]]
    if event in ("os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"):
        return [os.fsdecode(arguments[0])] if isinstance(arguments[0], str | bytes | os.PathLike) else []
    return []


WATCH = Watch()
sys.addaudithook(WATCH)


@contextlib.contextmanager
def nothing_bad(folder: Path) -> Iterator[None]:
    """Inside the context no program starts, nothing is connected to or written outside, and it ends in time."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {LIMIT_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_SECONDS)
    WATCH.folder = folder.absolute()
    try:
        yield
    finally:
        WATCH.folder = None
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        forbidden, WATCH.forbidden[:] = list(WATCH.forbidden), []
    assert not forbidden


def command(*arguments: str) -> int:
    """Run a command as a user does; returns its exit status, and sees that it says at most one line of trouble."""
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
        status = main(arguments)
    assert status in (0, 1, 2)
    assert "Traceback" not in err.getvalue()
    lines = [line for line in err.getvalue().split("\n") if line.startswith("masactrl-video: ")]
    assert len(lines) == (status == 2 and arguments[:2] != ("cache", "verify"))  # which lists what it finds
    assert all(line.isprintable() for line in lines)
    return status


def try_many(inputs: st.SearchStrategy[Any], check: Callable[[Any], None], full: bool) -> int:
    """Check many inputs; returns how many. The short form takes the same ones each time."""
    tried = 0

    @settings(
        max_examples=500 if full else 40,
        derandomize=not full,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def one(value: Any) -> None:
        nonlocal tried
        tried += 1
        check(value)

    one()
    return tried
