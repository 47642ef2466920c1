"""The figures as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from masactrl_video.measure.comparing import Row
from masactrl_video.measure.figure import Measured


def lines_of(measured: Sequence[Measured], rows: Sequence[Row]) -> Iterator[str]:
    """A line for each figure, under what it answers; with several clips the winner, and what is not measured."""
    labels = [one.label for one in measured]
    width = max((len(row.about.name) for row in rows), default=0)
    alone = len(measured) == 1
    cells = [[(row.about.text if alone else row.about.number)(value) for value in row.values] for row in rows]
    widths = [
        max(len(text) for text in (label, *column))
        for label, column in zip(labels, zip(*cells, strict=True), strict=True)
    ]
    if not alone:
        heads = (label.rjust(size) for label, size in zip(labels, widths, strict=True))
        yield f"{'':{width}}  {'  '.join(heads)}"
    question = None
    for row, texts in zip(rows, cells, strict=True):
        if row.about.question != question:
            question = row.about.question
            yield question
        values = "  ".join(text.rjust(size) for text, size in zip(texts, widths, strict=True))
        yield f"  {row.about.name:{width}}  {values}  {said_of(row, measured)}".rstrip()
    needed = measured[0].not_measured
    if needed:
        yield "Not measured, because it needs"
        yield from (f"  {what}: {need}" for what, need in needed)


def said_of(row: Row, measured: Sequence[Measured]) -> str:
    """What stands behind the values: how to read them, and who wins."""
    better = {"neither": ""}.get(row.about.better, f"{row.about.better} is better")
    if len(measured) == 1:
        figure = measured[0].figure(row.about.name)
        return "; ".join(filter(None, [better, *(figure.notes if figure is not None else ())]))
    return "; ".join(
        filter(None, [row.about.unit, better, winner_text(row, [one.label for one in measured]), row.said])
    )


def winner_text(row: Row, labels: Sequence[str]) -> str:
    """Who wins, and how sure that is; empty where nobody does."""
    if row.winner is None:
        return ""
    if row.runner_up is None:
        return f"best: {labels[row.winner]}"
    if row.interval is None:
        return f"best: {labels[row.winner]} (no interval: of other frames, or too few)"
    low, high = (f"{bound:+.{row.about.digits + 1}f}" for bound in row.interval)
    sure = "" if row.is_clear else ", not sure"
    return f"best: {labels[row.winner]}{sure} ({low} to {high} against {labels[row.runner_up]})"
