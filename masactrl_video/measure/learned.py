"""Figures of networks: how alike frames are in their eyes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from masactrl_video.measure.fidelity import blackened
from masactrl_video.measure.figure import Definition, Figure, Floats, Values
from masactrl_video.measure.moments import Moment, Picture

Embed = Callable[[Picture], Floats]
"""RGB (height, width, 3) → a vector of length 1."""

Distance = Callable[[Picture, Picture], float]
"""0 for pictures that are the same to a network."""

_CONSISTENCY = (
    "for each frame from the second on ½ (cosine to the frame before + cosine to the first frame), each cosine 0 at "
    "least; mean over frames"
)

SUBJECT = Definition(
    name="subject-consistency",
    title="Subject consistency (VBench)",
    question="Is it the same character?",
    better="higher",
    perfect=1.0,
    formula=f"DINO ViT-B/16, class token: {_CONSISTENCY}",
    source="VBench (Huang et al. 2024, arXiv 2311.17982), subject_consistency",
    not_said="A frozen clip gets 1. It is of the whole picture, so the background counts too.",
    digits=4,
    rewards_nothing=True,
)

BACKGROUND = Definition(
    name="background-consistency",
    title="Background consistency (VBench)",
    question="Is it the same character?",
    better="higher",
    perfect=1.0,
    formula=f"CLIP ViT-B/32, picture's vector: {_CONSISTENCY}",
    source="VBench (Huang et al. 2024), background_consistency",
    not_said="It is of the whole picture, not of the background alone, as published. A frozen clip gets 1.",
    digits=4,
    rewards_nothing=True,
)

CLIP_FRAMES = Definition(
    name="clip-frames",
    title="Likeness of neighbours (CLIP-F)",
    question="Does it flicker?",
    better="higher",
    perfect=1.0,
    formula="CLIP: cosine of a frame and the next; mean over pairs",
    source="frame consistency of Gen-1 (Esser et al. 2023, arXiv 2302.03011)",
    not_said="CLIP does not see small flicker. A frozen clip gets 1.",
    digits=4,
    rewards_nothing=True,
    of_pairs=True,
)

CLIP_TEXT = Definition(
    name="clip-text",
    title="Likeness to the prompt (CLIP-T)",
    question="What was kept, and what was changed?",
    better="higher",
    perfect=None,
    formula="CLIP: cosine of a frame and the prompt; mean over frames",
    source="Hessel et al. 2021 (CLIPScore, arXiv 2104.08718), without its factor",
    not_said="Values of other CLIP models, and of other prompts, cannot be compared.",
    digits=4,
)

LPIPS = Definition(
    name="kept-lpips",
    title="Kept: LPIPS",
    question="What was kept, and what was changed?",
    better="lower",
    perfect=0.0,
    formula="distance of a network's features, result to input, with the mask's inside black (without a mask: whole "
    "pictures); mean over frames",
    source="Zhang et al. 2018 (arXiv 1801.03924); blackened as in PIE-Bench, whose network is squeeze",
    not_said="A clip in which nothing was edited is perfect: read it beside the edit strength.",
    digits=4,
    rewards_nothing=True,
)

DREAMSIM = Definition(
    name="dreamsim",
    title="Distance to the source (DreamSim)",
    question="Is it the same character?",
    better="lower",
    perfect=0.0,
    formula="DreamSim's distance of a frame, black outside the mask if there is one, and the source; mean over frames",
    source="Fu et al. 2023 (arXiv 2306.09344); against one source: this package",
    not_said="Another pose is a distance too: compare clips of the same poses.",
    digits=4,
)


class Consistency:
    """VBench's consistency of vectors; with `neighbours` and `text` also CLIP-F and CLIP-T."""

    def __init__(
        self, about: Definition, embed: Embed, model: str, *, neighbours: bool = False, text: Floats | None = None
    ) -> None:
        self._about, self._embed, self._note = about, embed, f"network: {model}"
        self._text = text
        self._first: Floats | None = None
        self._last: tuple[int, Floats] | None = None
        self._consistent, self._alike, self._told = Values(), Values(), Values()
        self._neighbours = neighbours

    def add(self, moment: Moment) -> None:
        """Look at the next frame."""
        vector = self._embed(moment.pixels)
        if self._text is not None:
            self._told.add(moment.frame, float(vector @ self._text))
        if self._last is None or self._first is None:
            self._first = vector
        else:
            frame, last = self._last
            self._consistent.add(
                moment.frame, (max(0.0, float(last @ vector)) + max(0.0, float(self._first @ vector))) / 2
            )
            self._alike.add(frame, float(last @ vector))
        self._last = moment.frame, vector

    def figures(self) -> Iterator[Figure]:
        """Those that have a value."""
        found = [(self._about, self._consistent)]
        found += [(CLIP_FRAMES, self._alike)] if self._neighbours else []
        for about, values in (*found, (CLIP_TEXT, self._told)):
            if len(values):
                yield values.figure(about, self._note)


class KeptPerceptually:
    """`LPIPS` against the input."""

    def __init__(self, distance: Distance, model: str) -> None:
        self._distance, self._note = distance, f"network: {model}"
        self._values = Values()

    def add(self, moment: Moment) -> None:
        """Look at the next frame."""
        if moment.original is None:
            return
        pair = (moment.pixels, moment.original)
        if moment.mask is not None:
            pair = (blackened(pair[0], moment.mask), blackened(pair[1], moment.mask))
        self._values.add(moment.frame, self._distance(*pair))

    def figures(self) -> Iterator[Figure]:
        """One, if there was an input."""
        if len(self._values):
            yield self._values.figure(LPIPS, self._note)


class ToSource:
    """`DREAMSIM` of each frame to the source."""

    def __init__(self, distance: Distance, source: Picture) -> None:
        self._distance, self._source = distance, source
        self._values = Values()

    def add(self, moment: Moment) -> None:
        """Look at the next frame."""
        shown = moment.pixels if moment.mask is None else blackened(moment.pixels, ~moment.mask)
        self._values.add(moment.frame, self._distance(shown, self._source))

    def figures(self) -> Iterator[Figure]:
        """One."""
        if len(self._values):
            yield self._values.figure(DREAMSIM)


def unit(vector: Floats) -> Floats:
    """The vector at length 1."""
    return np.asarray(vector / np.linalg.norm(vector), np.float64)
