"""The size at which the model works: multiples of its size factor, near the area that it was trained at."""

from __future__ import annotations

import math
from itertools import product

from masactrl_video.errors import UserError


def choose_size(
    aspect_ratio: float, width_px: int | None, height_px: int | None, *, size_factor: int, native_area_px: int
) -> tuple[int, int]:
    """The (width, height) to work at: what is given is kept, what is not follows from the frame's aspect ratio.

    With neither given, the aspect ratio is kept as closely as multiples of `size_factor` near `native_area_px` allow.

    Raises:
        UserError: a given side is no positive multiple of `size_factor`.
    """
    check_sides(width_px, height_px, size_factor)
    if width_px is not None and height_px is not None:
        return width_px, height_px
    if width_px is not None:
        return width_px, _nearest_multiple(width_px / aspect_ratio, size_factor)
    if height_px is not None:
        return _nearest_multiple(height_px * aspect_ratio, size_factor), height_px
    return _native_size(aspect_ratio, size_factor, native_area_px)


def check_sides(width_px: int | None, height_px: int | None, size_factor: int) -> None:
    """Raises UserError for a given side that is no positive multiple of `size_factor`."""
    for name, side_px in (("width", width_px), ("height", height_px)):
        _check_multiple(name, side_px, size_factor)


def _check_multiple(name: str, side_px: int | None, size_factor: int) -> None:
    if side_px is None or (side_px > 0 and side_px % size_factor == 0):
        return
    lower_px = side_px // size_factor * size_factor
    nearest = f"{lower_px} or {lower_px + size_factor}" if lower_px > 0 else str(size_factor)
    raise UserError(f"the {name} {side_px} is no multiple of {size_factor}, as the model needs; nearest: {nearest}")


def _nearest_multiple(side_px: float, size_factor: int) -> int:
    return max(1, math.floor(side_px / size_factor + 0.5)) * size_factor


def _native_size(aspect_ratio: float, size_factor: int, native_area_px: int) -> tuple[int, int]:
    """Of the four multiples around the exact size: the closest aspect ratio, then the closest area."""
    exact_sides = (math.sqrt(native_area_px * aspect_ratio), math.sqrt(native_area_px / aspect_ratio))
    widths_px, heights_px = (_multiples_around(side_px, size_factor) for side_px in exact_sides)

    def distance(size: tuple[int, int]) -> tuple[float, int]:
        aspect_error = abs(math.log(size[0] / size[1] / aspect_ratio))
        return round(aspect_error, 9), abs(size[0] * size[1] - native_area_px)

    return min(product(widths_px, heights_px), key=distance)


def _multiples_around(side_px: float, size_factor: int) -> list[int]:
    lower_px = max(1, math.floor(side_px / size_factor)) * size_factor
    return [lower_px, lower_px + size_factor]
