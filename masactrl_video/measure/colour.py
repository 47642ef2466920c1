"""Does the colour drift: ΔE2000 of a region against the source, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from masactrl_video.measure.figure import Definition, Figure, Floats, Values
from masactrl_video.measure.moments import Mask, Moment, Picture

_MEAN = "the region's mean colour (mean of linear light, as CIELAB under D65) against that of the source, as ΔE2000"

DISTANCE = Definition(
    name="colour-distance",
    title="Colour against the source",
    question="Is it the same character?",
    better="lower",
    perfect=0.0,
    formula=f"{_MEAN}; mean over frames",
    source="ΔE2000: Sharma et al. 2005 (scikit-image); of a region's mean: this package",
    not_said="Patterns and details: only the mean colour is looked at. 1 is about what an eye can tell.",
    unit="ΔE",
    digits=2,
)

DRIFT = Definition(
    name="colour-drift",
    title="Colour drift",
    question="Does the colour drift?",
    better="nearer to 0",
    perfect=0.0,
    formula=f"{_MEAN}; slope of the line of least squares over the frames, for 100 frames",
    source="ΔE2000: Sharma et al. 2005 (scikit-image); slope: this package",
    not_said="Below 0 the colour comes nearer to the source. Where light really changes, so does the colour.",
    unit="ΔE in 100 frames",
    digits=3,
)

SPREAD = Definition(
    name="colour-spread",
    title="Spread of the colour",
    question="Does the colour drift?",
    better="lower",
    perfect=0.0,
    formula=f"{_MEAN}; standard deviation over the frames",
    source="ΔE2000: Sharma et al. 2005 (scikit-image); spread: this package",
    not_said="Where from the spread comes: drift, flicker, or a character that turns round.",
    unit="ΔE",
    digits=3,
)

REGIONS = {"": "", "-background": " (background)"}
"""Ends of the names of figures, and of their titles: of the mask's inside, or of all, and of its outside."""


class Colour:
    """`DISTANCE`, `DRIFT` and `SPREAD` of the character and, with a mask, of the background."""

    def __init__(self, source: Picture | None, source_mask: Mask | None = None, is_moving: bool = True) -> None:
        """Compare with the source; without one, or where its region is not known, with the first frame.

        Args:
            source: RGB (height, width, 3).
            source_mask: (height, width) of the source, its character.
            is_moving: the frames follow each other in time; otherwise only `DISTANCE` is measured.
        """
        self._source, self._source_mask, self._is_moving = source, source_mask, is_moving
        self._wanted: dict[str, Floats] = {}
        self._values = {region: Values() for region in REGIONS}
        self._against_first = False

    def add(self, moment: Moment) -> None:
        """Look at the next frame."""
        for region, mask in _regions(moment.mask).items():
            colour = mean_colour(moment.pixels, mask)
            if colour is None:
                continue
            wanted = self._wanted.setdefault(region, self._of_source(region, moment, colour))
            self._values[region].add(moment.frame, delta_e(colour, wanted))

    def _of_source(self, region: str, first: Moment, colour: Floats) -> Floats:
        known = self._source is not None and (first.mask is None or self._source_mask is not None)
        if not known or self._source is None:
            self._against_first = True
            return colour
        found = mean_colour(self._source, _regions(self._source_mask).get(region))
        return colour if found is None else found

    def figures(self) -> Iterator[Figure]:
        """Three for each region."""
        against = ("against the clip's first frame",) if self._against_first else ()
        for region, values in self._values.items():
            if not len(values):
                continue
            frames, curve = np.array(values.frames, np.int64), values.array()
            samples = np.stack([frames, curve], axis=1)
            for about, reduce in ((DISTANCE, _mean), (DRIFT, slope), (SPREAD, _deviation)):
                if about is not DISTANCE and not self._is_moving:
                    continue
                own = replace(about, name=about.name + region, title=about.title + REGIONS[region])
                yield Figure(own, frames, curve, samples, reduce, against)


def _mean(samples: Floats) -> float:
    return float(samples[:, 1].mean())


def _deviation(samples: Floats) -> float:
    return float(samples[:, 1].std())


def slope(samples: Floats) -> float:
    """Of (frame, value) rows by least squares, for 100 frames; 0 where all are of one frame."""
    frames, values = samples.T
    away = frames - frames.mean()
    spread = float(np.square(away).sum())
    return 100 * float((away * (values - values.mean())).sum()) / spread if spread else 0.0


def _regions(mask: Mask | None) -> dict[str, Mask | None]:
    return {"": None} if mask is None else {"": mask, "-background": ~mask}


def mean_colour(picture: Picture, mask: Mask | None = None) -> Floats | None:
    """CIELAB of the mean light of an RGB picture, or of its part in the mask; None where that is empty."""
    from skimage.color import xyz2lab
    from skimage.color.colorconv import xyz_from_rgb

    pixels = picture.reshape(-1, 3) if mask is None else picture[mask]
    if not len(pixels):
        return None
    counts = np.stack([np.bincount(channel, minlength=256) for channel in pixels.T])
    light = counts @ _linear() / len(pixels)
    return np.asarray(xyz2lab(xyz_from_rgb @ light), np.float64)


def _linear() -> Floats:
    """(256,): the light of each level of sRGB, 0 to 1 (IEC 61966-2-1)."""
    levels = np.arange(256) / 255
    return np.asarray(np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4))


def delta_e(first: Floats, second: Floats) -> float:
    """CIEDE2000 of two colours in CIELAB."""
    from skimage.color import deltaE_ciede2000

    return float(deltaE_ciede2000(first, second))  # type: ignore[no-untyped-call]
