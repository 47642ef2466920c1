"""What a clip is made of: the selection of frames, a frame with its time, and facts about the whole clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError


@dataclass(frozen=True)
class Selection:
    """Which frames of a clip are taken, in the terms that VideoHelperSuite's users know."""

    skip_first_frames: int = 0
    """Frames left out at the start, 0 or more."""
    select_every_nth: int = 1
    """1 takes every frame, 2 every second one, and so on."""
    frame_load_cap: int | None = None
    """At most this many frames are taken, 1 or more; None for no limit."""

    def __post_init__(self) -> None:
        for name, lowest in (("skip_first_frames", 0), ("select_every_nth", 1), ("frame_load_cap", 1)):
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise UserError(f"{name} is {value}; it must be {lowest} or more")

    def positions(self, num_frames: int) -> range:
        """Positions in a clip of `num_frames` frames; empty when the selection leaves nothing."""
        chosen = range(self.skip_first_frames, num_frames, self.select_every_nth)
        return chosen[: self.frame_load_cap]


class Timing(NamedTuple):
    """When a frame is shown."""

    index: int  # type: ignore[assignment]  # the field's usual word, in place of tuple.index
    """Position in the clip before selection, from 0."""
    start_seconds: float
    """The clip's own time; where the sound starts late or early this differs from 0 for the first frame."""
    duration_seconds: float
    """Until the next selected frame, so that a selection lasts as long as the stretch that it was taken from."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a clip and when it is shown; the times are those of `Timing`."""

    index: int
    start_seconds: float
    duration_seconds: float
    pixels: NDArray[np.uint8]
    """RGB, shape (height, width, 3)."""


@dataclass(frozen=True)
class ClipInfo:
    """Facts about a whole clip, before any selection."""

    path: Path
    kind: Literal["video", "images", "poses"]
    width_px: int
    """As shown: after rotation, and stretched where the stored pixels are not square."""
    height_px: int
    rotation_degrees: int
    """Clockwise turn asked for by the file and already applied to the frames: 0, 90, 180 or 270.

    Where it asks for a mirror too, which is applied as well, the turn comes first and the mirror, top to bottom, last.
    """
    num_frames: int
    """Counted from the packets or the images, not taken from a header; frames that an edit list hides are left out."""
    average_frame_rate: float
    """Frames a second over the whole clip; the frames' own times are the truth where the rate varies."""
    duration_seconds: float
    """From the start of the first frame to the end of the last."""
    has_audio: bool
    remarks: tuple[str, ...] = ()
    """What is not taken over from the file as it is: high dynamic range, interlacing, transparency, a missing end."""


class Pictures(Protocol):
    """Pictures that are read when they are needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3)."""
