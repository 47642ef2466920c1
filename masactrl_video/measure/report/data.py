"""The figures as JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import masactrl_video
from masactrl_video.measure.comparing import RESAMPLES, SEED, Row
from masactrl_video.measure.figure import Measured

MADE_BY = "masactrl-video measure"
"""By this a folder is known as ours."""


def as_data(measured: Sequence[Measured], rows: Sequence[Row]) -> dict[str, Any]:
    """Everything, for JSON: numbers that JSON does not have are null (none) and "Infinity"."""
    return {
        "made by": f"{MADE_BY} {masactrl_video.__version__}",
        "clips": [_clip(one) for one in measured],
        "comparison": [_row(row, measured) for row in rows] if len(measured) > 1 else [],
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED, "interval": 0.95},
        "definitions": {
            row.about.name: {
                name: as_number(value) if isinstance(value, float) else value
                for name in ("title", "question", "unit", "better", "perfect", "formula", "source", "not_said")
                for value in [getattr(row.about, name)]
            }
            for row in rows
        },
    }


def _clip(one: Measured) -> dict[str, Any]:
    return {
        "label": one.label,
        "path": str(one.path),
        "num_frames": one.num_frames,
        "width_px": one.width_px,
        "height_px": one.height_px,
        "frame_rate": one.frame_rate,
        "remarks": list(one.remarks),
        "not_measured": dict(one.not_measured),
        "figures": {
            figure.about.name: {
                "value": as_number(figure.value),
                "notes": list(figure.notes),
                "frames": figure.frames.tolist(),
                "values": [as_number(value) for value in figure.curve.tolist()],
            }
            for figure in one.figures
        },
    }


def _row(row: Row, measured: Sequence[Measured]) -> dict[str, Any]:
    def label(at: int | None) -> str | None:
        return None if at is None else measured[at].label

    return {
        "figure": row.about.name,
        "values": [as_number(value) for value in row.values],
        "best": label(row.winner),
        "against": label(row.runner_up),
        "interval": None if row.interval is None else list(row.interval),
        "clear": row.is_clear,
        "said": row.said,
    }


def as_number(value: float) -> float | str | None:
    """A value for JSON, which has no numbers for none and infinity."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else f"{'-' if value < 0 else ''}Infinity"


def figures_csv(measured: Sequence[Measured], rows: Sequence[Row]) -> str:
    """A row for each figure, a column for each clip."""
    head = ["figure", "unit", "better", *(one.label for one in measured), "best", "interval low", "interval high"]
    body = [
        [
            *(row.about.name, row.about.unit, row.about.better),
            *(repr(value) for value in row.values),
            "" if row.winner is None else measured[row.winner].label,
            *(("", "") if row.interval is None else map(repr, row.interval)),
        ]
        for row in rows
    ]
    return _csv([head, *body])


def frames_csv(measured: Sequence[Measured]) -> str:
    """A row for each value of a frame or pair."""
    body = [
        [one.label, figure.about.name, str(frame), repr(value)]
        for one in measured
        for figure in one.figures
        for frame, value in zip(figure.frames.tolist(), figure.curve.tolist(), strict=True)
    ]
    return _csv([["clip", "figure", "frame", "value"], *body])


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
