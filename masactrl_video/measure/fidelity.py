"""What was kept of the input outside the mask, and how much was edited inside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from masactrl_video.errors import counted
from masactrl_video.measure.figure import Definition, Figure, Floats, Values, mean
from masactrl_video.measure.moments import Mask, Moment, Picture

_SOURCE = "PIE-Bench (Ju et al. 2024, arXiv 2310.01506), its published code"
_NOT_SAID = "A clip in which nothing was edited is perfect: read it beside the edit strength."
_BLACKENED = "of both pictures with the mask's inside black (without a mask: of the whole pictures)"

PSNR = Definition(
    name="kept-psnr",
    title="Kept: PSNR",
    question="What was kept, and what was changed?",
    better="higher",
    perfect=math.inf,
    formula=f"10 log10(1 / mean squared difference of values 0 to 1) {_BLACKENED}, over all pixels; mean over frames",
    source=_SOURCE,
    not_said=f"{_NOT_SAID} The black part counts as kept, so a large mask raises it; see the PSNR of outside pixels.",
    unit="dB",
    digits=2,
    rewards_nothing=True,
)

OUTSIDE_PSNR = Definition(
    name="kept-psnr-outside",
    title="Kept: PSNR of the pixels outside the mask",
    question="What was kept, and what was changed?",
    better="higher",
    perfect=math.inf,
    formula="10 log10(1 / mean squared difference of values 0 to 1) over the pixels outside the mask; mean over frames",
    source="this package; PIE-Bench's is higher, because it counts the black inside",
    not_said=_NOT_SAID,
    unit="dB",
    digits=2,
    rewards_nothing=True,
)

SSIM = Definition(
    name="kept-ssim",
    title="Kept: SSIM",
    question="What was kept, and what was changed?",
    better="higher",
    perfect=1.0,
    formula=f"structural similarity {_BLACKENED}: Gaussian window of 11 px, deviation 1.5, K 0.01 and 0.03; mean "
    "over frames",
    source=f"Wang et al. 2004; {_SOURCE}",
    not_said=_NOT_SAID,
    digits=4,
    rewards_nothing=True,
)

MSE = Definition(
    name="kept-mse",
    title="Kept: MSE",
    question="What was kept, and what was changed?",
    better="lower",
    perfect=0.0,
    formula=f"mean squared difference of values 0 to 1 {_BLACKENED}; mean over frames (tables show it times 10,000)",
    source=_SOURCE,
    not_said=_NOT_SAID,
    digits=6,
    rewards_nothing=True,
)

EDIT_STRENGTH = Definition(
    name="edit-strength",
    title="Edit strength",
    question="What was kept, and what was changed?",
    better="neither",
    perfect=None,
    formula="mean absolute difference of result and input inside the mask (without a mask: of the whole pictures)",
    source="this package",
    not_said="Whether the edit is the one that was asked for.",
    unit="levels of 255",
    digits=2,
)

UNEDITED = 3.0
"""Edit strength below which nothing was edited, and no figure that rewards this can be won; writing a clip as a video
once more changes it by one or two levels."""

SMALLEST_PX = 11
"""SSIM's window must fit in."""


class Kept:
    """`PSNR`, `OUTSIDE_PSNR`, `SSIM`, `MSE` and `EDIT_STRENGTH` against the input."""

    def __init__(self) -> None:
        self._values: dict[Definition, Values] = {
            about: Values() for about in (PSNR, OUTSIDE_PSNR, SSIM, MSE, EDIT_STRENGTH)
        }

    def add(self, moment: Moment) -> None:
        """Look at the next frame."""
        if moment.original is None:
            return
        original, made, mask = moment.original, moment.pixels, moment.mask
        if mask is not None and mask.any() and not mask.all():
            outside = squared_difference(made[~mask], original[~mask])
            self._values[OUTSIDE_PSNR].add(moment.frame, psnr(outside))
        inside = np.ones(made.shape[:2], bool) if mask is None else mask
        if inside.any():
            change = np.abs(made[inside].astype(np.int16) - original[inside])
            self._values[EDIT_STRENGTH].add(moment.frame, float(change.mean()))
        original, made = (picture if mask is None else blackened(picture, mask) for picture in (original, made))
        error = squared_difference(made, original)
        self._values[MSE].add(moment.frame, error)
        self._values[PSNR].add(moment.frame, psnr(error))
        self._values[SSIM].add(moment.frame, ssim(made, original))

    def figures(self) -> Iterator[Figure]:
        """Those that have a value."""
        for about, values in self._values.items():
            if not len(values):
                continue
            same = int(np.isinf(values.array()).sum())
            note = (f"{counted(same, 'frame')} as in the input, left out",) if 0 < same < len(values) else ()
            yield replace(values.figure(about, *note), reduce=mean_of_finite)


def mean_of_finite(samples: Floats) -> float:
    """The mean without infinite values, of which one would hide all others; infinite where all are."""
    finite = samples[np.isfinite(samples)]
    return mean(finite if finite.size else samples)


def blackened(picture: Picture, mask: Mask) -> Picture:
    """The picture, black inside the mask."""
    return np.where(mask[..., None], np.uint8(0), picture)


def squared_difference(first: Picture, second: Picture) -> float:
    """Mean squared difference of values 0 to 1."""
    return float(np.square(first.astype(np.float64) - second).mean()) / 255**2


def psnr(error: float) -> float:
    """Decibels of a mean squared difference of values 0 to 1."""
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(first: Picture, second: Picture) -> float:
    """Structural similarity (Wang et al. 2004) of RGB pictures, mean over channels and the pixels with a whole window.

    As scikit-image's `structural_similarity` with Gaussian weights, and as torchmetrics', in a third of the time.
    """
    import cv2

    def blurred(values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT))

    a, b = first.astype(np.float64), second.astype(np.float64)
    mean_a, mean_b = blurred(a), blurred(b)
    both, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    covariance, variances = blurred(a * b) - both, blurred(a * a + b * b) - squares
    small = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)
    similarity = (2 * both + small[0]) * (2 * covariance + small[1])
    similarity /= (squares + small[0]) * (variances + small[1])
    return float(similarity[5:-5, 5:-5].mean())
