"""Kinds of control images that other packages add by entry points of `masactrl_video.controls`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from pydantic import JsonValue

from masactrl_video.controls.extractors import GuidanceFrame, Image
from masactrl_video.errors import UserError, counted
from masactrl_video.plugins import load_plugin


@runtime_checkable
class Control(Protocol):
    """One kind of control image, made of the frames of a clip; its name is that of its entry point."""

    @property
    def provenance(self) -> JsonValue:
        """What determines the pictures besides the frames, e.g. a version, weights' names, options."""

    def pictures(self, frames: Iterable[Image]) -> Iterable[Image]:
        """One picture for each frame, in order and of its size; all are RGB uint8 (height, width, 3)."""


def added_control(name: str) -> Control:
    """The control that an installed package adds under a name: an object, or its class.

    Raises:
        UserError: it cannot be imported, or is no `Control`.
    """
    added = load_plugin("controls", name)
    control = added() if isinstance(added, type) else added
    if not isinstance(control, Control):
        raise UserError(
            f"masactrl_video.controls: {name} is no control: it needs `provenance` and `pictures(frames)`; see "
            "docs/plug-points.md"
        )
    return control


@dataclass(frozen=True, eq=False)
class AddedGuidance:
    """The pictures of an added control, seen to be one of the right size for each frame (a `FrameGuidance`)."""

    kind: str
    control: Control
    when_empty: str = field(default="all pictures are black", init=False)

    def __call__(self, frames: Iterable[Image]) -> Iterator[GuidanceFrame]:
        """Raises UserError where a picture cannot be used, or there are more or fewer than frames."""
        shapes: list[tuple[int, ...]] = []

        def seen() -> Iterator[Image]:
            for frame in frames:
                shapes.append(frame.shape)
                yield frame

        given, count = seen(), 0
        for count, picture in enumerate(self.control.pictures(given), 1):
            size = shapes[0] if shapes else ()
            if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.shape != size:
                got = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
                raise UserError(f"guidance {self.kind!r}: picture {count - 1} is {got}, but frames are uint8 {size}")
            yield GuidanceFrame(picture)
        for _ in given:
            pass  # frames that it did not ask for
        if count != len(shapes):
            raise UserError(
                f"guidance {self.kind!r}: {counted(count, 'picture')} came of {counted(len(shapes), 'frame')}; one for "
                "each frame is needed"
            )
