"""How steady the pictures of a batch are, by the package's own meters that need no weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.measure.colour import Colour
from masactrl_video.measure.figure import Figure
from masactrl_video.measure.flow import DisFlow
from masactrl_video.measure.moments import Meter, Moment
from masactrl_video.measure.steadiness import Flicker, WarpError

Pictures = NDArray[np.float32]


def measured(frames: Pictures, source: Pictures | None = None, original: Pictures | None = None) -> list[Figure]:
    """Figures of frames in their order.

    Args:
        frames: (frames, height, width, 3) in [0, 1].
        source: (1, height, width, 3): colours are compared with it, else with the first frame.
        original: the input clip, as many pictures of the same size: how much more the result trembles than it.

    Raises:
        UserError: fewer than two frames, or an original of another size or number.
    """
    if len(frames) < 2:
        raise UserError(f"frames: got {len(frames)}; give 2 or more, in their order")
    if original is not None and original.shape != frames.shape:
        raise UserError(f"original: got {_about(original)}, the frames are {_about(frames)}; give the same")
    meters: list[Meter] = [Colour(None if source is None else _bytes(source[0])), Flicker()]
    meters += [] if original is None else [WarpError(DisFlow())]
    for number, frame in enumerate(frames):
        moment = Moment(number, _bytes(frame), None if original is None else _bytes(original[number]))
        for meter in meters:
            meter.add(moment)
    return [figure for meter in meters for figure in meter.figures()]


def as_text(figures: list[Figure]) -> str:
    """A line for each figure, with what must be said of it."""
    lines = [f"{figure.about.title}: {figure.text}" for figure in figures]
    notes = [f" ({'; '.join(figure.notes)})" if figure.notes else "" for figure in figures]
    return "\n".join(line + note for line, note in zip(lines, notes, strict=True))


def _bytes(picture: Pictures) -> NDArray[np.uint8]:
    return np.ascontiguousarray((np.clip(picture[..., :3], 0, 1) * 255).round().astype(np.uint8))


def _about(pictures: Pictures) -> str:
    return f"{len(pictures)} of {pictures.shape[2]}x{pictures.shape[1]}"
