"""The report as one page that needs no other file: HTML with curves and pictures in it."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from io import BytesIO

import numpy as np
from PIL import Image

import masactrl_video
from masactrl_video.errors import counted
from masactrl_video.measure.comparing import RESAMPLES, SEED, Row
from masactrl_video.measure.figure import Measured
from masactrl_video.measure.moments import Picture
from masactrl_video.measure.report.charts import COLOURS, curve_chart
from masactrl_video.measure.report.lines import winner_text

_PICTURE_PX = 176

Pictures = Mapping[tuple[int, int], tuple[Picture, Picture | None]]
"""(clip, frame) → the frame and, where there is one, the input's at this time."""

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid #ccc}
h3{font-size:1rem;margin-bottom:.2rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;text-align:left;border-bottom:1px solid #ddd}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.best{font-weight:600}
svg{width:100%;max-width:640px;display:block}svg polyline{fill:none;stroke-width:1.5}svg .axis{fill:none;stroke:#999}
svg text{font-size:11px;fill:#555}svg text.end{text-anchor:end}
p.note,li{margin:.2rem 0}p.note,dl,figcaption{color:#555;font-size:.9rem}dt{font-weight:600}dd{margin:0 0 .3rem 1rem}
.worst{display:flex;flex-wrap:wrap;gap:.8rem}figure{margin:.4rem 0}figure img{max-width:176px;margin-right:2px}
.key span{display:inline-block;width:1.4rem;height:.25rem;vertical-align:middle;margin:0 .3rem 0 1rem}
""".strip()


def report_page(measured: Sequence[Measured], rows: Sequence[Row], pictures: Pictures) -> str:
    """The whole page."""
    title = "Measured: " + ", ".join(one.label for one in measured)
    body = "\n".join(_body(measured, rows, pictures, title))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>\n{body}\n</body></html>\n"
    )


def _body(measured: Sequence[Measured], rows: Sequence[Row], pictures: Pictures, title: str) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>"
    yield from _about(measured)
    yield from _summary(measured, rows)
    question = None
    for row in rows:
        if row.about.question != question:
            question = row.about.question
            yield f"<h2>{escape(question)}</h2>"
        yield from _figure(row, measured, pictures)
    if measured[0].not_measured:
        yield "<h2>Not measured</h2><ul>"
        yield from (f"<li>{escape(what)}: needs {escape(need)}</li>" for what, need in measured[0].not_measured)
        yield "</ul>"
    yield f'<p class="note">Made by masactrl-video measure {escape(masactrl_video.__version__)}.</p>'


def _about(measured: Sequence[Measured]) -> Iterator[str]:
    yield "<ul>"
    for at, one in enumerate(measured):
        rate = "still pictures" if one.frame_rate is None else f"{one.frame_rate:.3g} frames a second"
        key = f'<span style="background:{COLOURS[at % len(COLOURS)]}"></span>' if len(measured) > 1 else ""
        facts = f"{counted(one.num_frames, 'frame')}, {one.width_px}x{one.height_px}, {rate}"
        yield f'<li class="key">{key}<b>{escape(one.label)}</b>: {facts}</li>'
        yield from (f'<li class="note">{escape(remark)}</li>' for remark in one.remarks)
    yield "</ul>"


def _summary(measured: Sequence[Measured], rows: Sequence[Row]) -> Iterator[str]:
    heads = "".join(f'<th class="n">{escape(one.label)}</th>' for one in measured)
    more = "<th>Best</th>" if len(measured) > 1 else ""
    yield f"<table><tr><th></th>{heads}<th>Better is</th>{more}</tr>"
    question = None
    for row in rows:
        if row.about.question != question:
            question = row.about.question
            yield f'<tr><th colspan="{len(measured) + 3}">{escape(question)}</th></tr>'
        cells = "".join(
            f'<td class="n{" best" if at == row.winner else ""}">{escape(row.about.text(value))}</td>'
            for at, value in enumerate(row.values)
        )
        better = {"neither": "neither; read it beside others"}.get(row.about.better, row.about.better)
        best = f"<td>{escape(_won(row, measured))}</td>" if len(measured) > 1 else ""
        link = f'<a href="#{row.about.name}">{escape(row.about.title)}</a>'
        yield f"<tr><td>{link}</td>{cells}<td>{better}</td>{best}</tr>"
    yield "</table>"
    if len(measured) > 1:
        yield (
            f'<p class="note">In brackets: 95 % interval of the best value less the next one\'s, by a paired block '
            f"bootstrap over frames ({RESAMPLES} resamples, seed {SEED}). Where it holds 0, the order may be chance. A "
            "clip in which nothing was edited cannot win a row that rewards that.</p>"
        )


def _won(row: Row, measured: Sequence[Measured]) -> str:
    text = winner_text(row, [one.label for one in measured]).removeprefix("best: ")
    return "; ".join(filter(None, [text, row.said]))


def _figure(row: Row, measured: Sequence[Measured], pictures: Pictures) -> Iterator[str]:
    about = row.about
    figures = [one.figure(about.name) for one in measured]
    values = ", ".join(
        f"{f'{one.label}: ' if len(measured) > 1 else ''}{about.text(value)}"
        for one, value in zip(measured, row.values, strict=True)
        if not math.isnan(value)
    )
    yield f'<h3 id="{about.name}">{escape(about.title)}: {escape(values)}</h3>'
    notes: dict[str, list[str]] = {}
    for one, figure in zip(measured, figures, strict=True):
        for note in figure.notes if figure is not None else ():
            notes.setdefault(note, []).append(one.label)
    for note, labels in notes.items():
        whose = "" if len(labels) == len(measured) else f"{', '.join(labels)}: "
        yield f'<p class="note">{escape(whose + note)}</p>'
    yield curve_chart(figures, [one.label for one in measured])
    shown = list(_worst(row, measured, pictures))
    if shown:
        yield f'<div class="worst">{"".join(shown)}</div>'
    perfect = "" if about.perfect is None else f" Perfect is {about.text(about.perfect)}."
    better = "Neither more nor less is better." if about.better == "neither" else f"Better is {about.better}.{perfect}"
    yield (
        f"<dl><dt>What it is</dt><dd>{escape(about.formula)}. {escape(better)}</dd>"
        f"<dt>Whose definition</dt><dd>{escape(about.source)}</dd>"
        f"<dt>What it does not say</dt><dd>{escape(about.not_said)}</dd></dl>"
    )


def _worst(row: Row, measured: Sequence[Measured], pictures: Pictures) -> Iterator[str]:
    for at, one in enumerate(measured):
        figure = one.figure(row.about.name)
        for frame in figure.worst(worst_shown(len(measured))) if figure is not None else []:
            if (at, frame) not in pictures:
                continue
            made, original = pictures[at, frame]
            value = float(figure.curve[list(figure.frames).index(frame)]) if figure is not None else math.nan
            whose = f"{one.label}, " if len(measured) > 1 else ""
            beside = "" if original is None else f'<img alt="input" src="{_embedded(original)}">'
            yield (
                f'<figure>{beside}<img alt="result" src="{_embedded(made)}"><figcaption>{escape(whose)}frame {frame}'
                f"{' and the next' if row.about.of_pairs else ''}: {escape(row.about.curve_text(value))}"
                f"{' (input, result)' if original is not None else ''}</figcaption></figure>"
            )


def worst_shown(clips: int) -> int:
    """Frames that are shown for each figure of a clip."""
    return 3 if clips == 1 else 1


def wanted_pictures(measured: Measured, clips: int) -> set[int]:
    """The frames that the page shows of a clip, one of so many."""
    return {frame for figure in measured.figures for frame in figure.worst(worst_shown(clips))}


def small(picture: Picture) -> Picture:
    """A picture at the size in which the page shows it."""
    image = Image.fromarray(picture)
    image.thumbnail((_PICTURE_PX, _PICTURE_PX), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _embedded(picture: Picture) -> str:
    content = BytesIO()
    Image.fromarray(picture).save(content, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
