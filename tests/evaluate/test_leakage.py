"""Leakage by exchanged clothes: what of a source's figure gets into the ground of frames."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from masactrl_video.demo.world.identity import SMALL_WORLD
from masactrl_video.evaluate.cases import Case, make_cases
from masactrl_video.evaluate.leakage import leakage
from masactrl_video.evaluate.measure import Measured
from masactrl_video.evaluate.rendering import Variant, Way
from masactrl_video.evaluate.table import as_markdown

PLAIN, MASKED = Variant(1, 8), Variant(1, 8, "masked")


def test_it_is_what_the_ground_takes_from_the_sources_clothes() -> None:
    """The frames of the second source differ by 10 levels on the ground, masked by 2, and by all on the figure."""
    seen: list[Case] = []

    def render(case: Case, variants: list[Variant], *, real: bool, own_noise: bool) -> Any:
        assert real
        assert own_noise
        seen.append(case)
        pictures = {}
        for variant in variants:
            level = 100 + (2 if variant is MASKED else 10) * len(seen)
            frames = [np.full((128, 128, 3), level, np.uint8) for _ in case.targets]
            for frame, target in zip(frames, case.targets, strict=True):
                frame[target.drawn(case.identity).mask] = 255 if len(seen) == 2 else 0
            pictures[variant] = np.stack(frames)
        return SimpleNamespace(targets=pictures)

    case = make_cases(1, 2, 128, SMALL_WORLD)[0]
    found = leakage(case, cast(Way, SimpleNamespace(render=render)), [PLAIN, MASKED])
    assert found == {PLAIN: [10.0, 10.0], MASKED: [2.0, 2.0]}
    own, exchanged = seen
    assert own.identity == exchanged.identity == case.in_ground_colours().identity
    changed = (own.source.drawn(own.identity).image != exchanged.source.drawn(own.identity).image).any(axis=2)
    silhouette = cv2.dilate(own.source.drawn(own.identity).mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert changed.sum() > 0
    assert not changed[~silhouette].any()


@pytest.mark.parametrize(
    ("plain", "masked", "row"),
    [
        ([2.0, 0.5, 4.0], [1.0, 0.5, 1.0], "in 2 of 3 frames that leak | 0.33 | ≤ 0.5 | yes |"),
        ([0.5, 0.5], [0.5, 0.4], "in 0 of 2 frames that leak | 0.90 | ≤ 0.5 | no |"),
    ],
)
def test_masks_are_judged_where_it_leaks_without_them(plain: list[float], masked: list[float], row: str) -> None:
    known = {
        "leakage with": plain,
        "leakage masked": masked,
        "error without": [2.0],
        "error without real source": [2.0],
    }
    measured = Measured(defaultdict(lambda: [1.0], known))
    assert f"| leakage, masked ÷ not masked, {row}" in as_markdown(measured, "A heading.")
