"""Figures of a render, put together of its chunks, for the report."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from masactrl_video.attention.plan import ControlPlan
from masactrl_video.controls.extract import frame_ranges
from masactrl_video.render.plan import ChunkResult

logger = logging.getLogger(__name__)

LEAST_SOURCE_SHARE = 0.001
"""Of a frame's attention, at its last controlled step: less of it on the source is no influence."""


class RenderFigures(TypedDict):
    """For the report of a run."""

    frames: int
    frames_rendered: int
    batch_size: int
    batch_size_at_the_end: int
    attention: dict[str, int]
    lowest_source_share: float
    frames_without_source: list[int]
    frames_again_in_float32: list[int]
    frames_black: list[int]
    cache: dict[str, float | bool]


def figures_of(results: Sequence[ChunkResult], frames: int, batch_size: int, plan: ControlPlan) -> RenderFigures:
    """What became of all chunks; what should be known is warned of.

    Args:
        frames: of the whole clip.
    """
    attention: Counter[str] = Counter()
    for result in results:
        attention.update(result.attention)
    shares = {frame: share for result in results for frame, share in result.source_shares.items()}
    without = sorted(frame for frame, share in shares.items() if share < LEAST_SOURCE_SHARE)
    black = sorted(frame for result in results for frame in result.black)
    if without and plan.steps and plan.layers:
        logger.warning("%s: the source had no influence, or next to none, on what they show", frame_ranges(without))
    if black:
        logger.warning("%s: black all over, in float32 too", frame_ranges(black))
    return {
        "frames": frames,
        "frames_rendered": sum(result.frames_rendered for result in results),
        "batch_size": batch_size,
        "batch_size_at_the_end": min((result.batch_size for result in results), default=batch_size),
        "attention": {"steps": len(plan.steps), "layers": len(plan.layers), **attention},
        "lowest_source_share": round(min(shares.values(), default=1.0), 6),
        "frames_without_source": without,
        "frames_again_in_float32": sorted(frame for result in results for frame in result.again_in_float32),
        "frames_black": black,
        "cache": {
            "held_in_memory": any(result.reads.held_in_memory for result in results),
            "steps_read": sum(result.reads.steps_read for result in results),
            "waited_seconds": round(sum(result.reads.waited_seconds for result in results), 3),
        },
    }
