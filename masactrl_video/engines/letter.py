"""What is sent to a worker, as plain data that any version of this package can look into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Fetch = Callable[[Any], Any]
"""Takes what stands for a file's content in a letter; the content, as a buffer of bytes."""


@dataclass(frozen=True)
class Letter:
    """All that a worker needs to begin. It travels as the dictionary of its fields."""

    version: str
    """Of this package, where the letter was written."""
    plan: str
    """A `RenderPlan` as JSON, with the paths of its owner."""
    run: str
    """Names the run, the same for all of its workers and for nobody else."""
    threads: int
    """Of torch on a CPU, as the owner has them: sums in floating point may depend on it."""
    mark: tuple[str, str] | None = None
    """A file in the folder that all see, and its content."""
    sources: Sequence[Mapping[str, Any]] | None = None
    """The files of each recorded source, by name; None: the worker reads them where the plan says."""
    indices: Sequence[bytes] | None = None
    """Of the pictures of each control, and of given masks, where the pictures come with the chunks; None: where the
    plan says."""
    files_back: bool = False
    """Whether the content of finished files is sent back; otherwise they are written where the plan says."""


Answer = tuple[Any, ...]
"""("ok", …), or a kind of fault and one line: "node", this worker cannot; "plan", nobody can."""

Fault = Literal["node", "plan"]


def control_name(number: int, frame: int) -> str:
    """How a chunk's picture of a control, or mask, is named on the way."""
    return f"{number}/{frame:06d}.png"
