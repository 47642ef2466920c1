"""Jobs, files and messages as HTML. All that was typed or sent is escaped here."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError, counted
from masactrl_video.jobs.grid import parse_grid
from masactrl_video.settings.fields import STILLS, VIDEOS
from masactrl_video.settings.presets import preset_names, read_preset
from masactrl_video.settings.stills import StillSettings
from masactrl_video.web.comic_page import pages_so_far
from masactrl_video.web.following import Progress
from masactrl_video.web.job import Job
from masactrl_video.web.preview import data_url
from masactrl_video.web.queue import Queue
from masactrl_video.web.words import line_of

_STATES = {
    "waiting": "Waiting",
    "running": "Working",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
}
_TITLES = {
    "render": "Clip",
    "animate": "Clip from poses",
    "source record": "Source of a clip",
    "source make": "Character",
    "synthesize": "Stills",
    "edit": "Edited picture",
    "sweep": "Grid",
    "compare": "Comparison",
    "comic": "Comic",
}
_STAGES = {
    "load": "Loading the model",
    "guidance": "Guidance",
    "source": "Making the source",
    "render": "Making the frames",
    "encode": "Writing the video",
    "pictures": "Making the pictures",
    "characters": "Making the characters",
    "panels": "Making the panels",
    "pages": "Setting the pages",
}
_MOST_FRAMES, _FEW = 240, 24
"""Pictures of a run on one page; the folder has them all."""


def title_of(job: Job) -> str:
    """A job in a few words."""
    what = job.more.get("name") or " / ".join(job.changes.get("prompts", [])) or job.changes.get("prompt")
    if what is None and job.command in VIDEOS and job.preset in preset_names():
        what = read_preset(job.preset).get("prompt")
    name = _TITLES.get(job.command, job.command)
    return f"{name}: {what[:90]}" if what else name


def when_of(job: Job) -> str:
    """When it was asked for, as people read it."""
    day, clock = job.name[:8], job.name[9:15]
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:4]}"


def problem(text: str) -> str:
    """What is wrong, where screen readers say it at once; nothing where nothing is."""
    return f'<div class="mv-problem" role="alert">{escape(text)}</div>' if text else ""


def note(text: str) -> str:
    """A remark."""
    return f'<p class="mv-note">{escape(text)}</p>' if text else ""


def url_of(path: Path) -> str:
    """Where the page finds a file of a job; the time keeps browsers from showing an older one."""
    return f"gradio_api/file={quote(path.as_posix())}?v={path.stat().st_mtime_ns}"


def queue_html(queue: Queue) -> str:
    """What runs and what waits, in sight on every tab."""
    waiting = queue.waiting()
    if not waiting:
        return '<div class="mv-queue mv-quiet">Nothing is being made at present.</div>'
    rows = []
    for place, job in enumerate(waiting):
        part = queue.progress().part if job.state == "running" else None
        how_far = f", {part:.0%} of this stage" if part is not None else ""
        what = f"now{how_far}" if job.state == "running" else f"waits, {place} before it" if place else "waits"
        link = f'<a href="?job={quote(job.name)}">{escape(title_of(job))}</a>'
        rows.append(f'<li>{link} <span class="mv-quiet">{what}</span></li>')
    return f'<div class="mv-queue"><ol aria-label="Jobs in the queue">{"".join(rows)}</ol></div>'


def job_html(queue: Queue, job: Job) -> str:
    """A job: how far it is, what it has made so far, and its line."""
    folder = queue.folder(job)
    parts = [
        f'<section class="mv-job" aria-label="{escape(title_of(job))}">',
        f'<header><h2>{escape(title_of(job))}</h2><span class="mv-state mv-{job.state}">{_STATES[job.state]}</span>'
        "</header>",
        _how_far(queue, job),
        problem(job.message),
        _made(job, folder),
        _line(job, folder),
        _settings(job, folder) if job.state in ("done", "stopped") else "",
        "</section>",
    ]
    return "".join(parts)


def _how_far(queue: Queue, job: Job) -> str:
    if job.state == "waiting":
        before = [other.name for other in queue.waiting()].index(job.name) if job in queue.waiting() else 0
        return note(f"It begins when {counted(before, 'job')} before it {'is' if before == 1 else 'are'} done.")
    if job.state == "stopped":
        return note("Stopped. What is done stays; “Go on” continues there.")
    return _running(queue.progress()) if job.state == "running" else ""


def _running(now: Progress) -> str:
    part = now.part
    done = f"{part:.1%}" if part is not None else "0%"
    value = f' aria-valuenow="{part * 100:.0f}"' if part is not None else ""
    words = [_STAGES.get(now.stage, now.stage.capitalize() or "Beginning")]
    if now.frames:
        words.append(f"{now.frames_done or 0} of {counted(now.frames, 'frame')}")
    elif now.total and now.doing:
        words.append(f"{now.doing}: {now.done:.0f} of {now.total:.0f}")
    if now.step is not None:
        words.append(f"step {now.step} of {now.steps}")
    if now.seconds_left is not None:
        words.append(f"{_duration(now.seconds_left)} left")
    text = " · ".join(words)
    return (
        f'<div class="mv-bar{"" if part is not None else " mv-unknown"}" role="progressbar" '
        f'aria-label="{escape(text)}" aria-valuemin="0" aria-valuemax="100"{value}>'
        f'<div style="width:{done}"></div></div>'
        f'<p class="mv-how-far">{escape(text)}</p>'
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _made(job: Job, folder: Path) -> str:
    output = job.output(folder)
    if job.command in VIDEOS:
        return _clip(job, output)
    if job.command in STILLS:
        return _pictures(job, output)
    if job.command == "comic":
        return _comic(job, output)
    return figure(output, "the source") if job.command == "source record" and output.is_file() else ""


def _clip(job: Job, output: Path) -> str:
    """The source as soon as it is there, frames as they come, the videos at the end."""
    folder = output.with_suffix("")
    parts = []
    if output.exists() and job.state == "done":
        parts.append(video(output, "The result", "mv-result"))
        beside = folder / f"side-by-side{output.suffix}"
        if beside.exists():
            parts.append(video(beside, "Clip, guidance and result side by side", "mv-wide"))
    sources = [path for path in sorted(folder.glob("source*.png"), key=lambda path: path.stem) if path.is_file()]
    if sources:
        parts.append(strip([(path, _source_name(path)) for path in sources], "The source"))
    frames = sorted((folder / "frames").glob("[0-9]*.png"))
    if frames:
        shown = [(path, f"frame {int(path.stem)}") for path in frames[:_MOST_FRAMES]]
        parts.append(strip(shown, f"{counted(len(frames), 'frame')}", closed=job.state == "done"))
    parts.append(_guidance(folder) if job.state != "done" else "")
    parts += [
        f"<details><summary>{escape(_spoken(path.stem))}</summary>{video(path, _spoken(path.stem))}</details>"
        for path in sorted(folder.glob(f"guidance-*{output.suffix}"))
        if job.state == "done"
    ]
    return "".join(parts)


def _spoken(stem: str) -> str:
    return stem.replace("-", ": ").capitalize()


def _source_name(path: Path) -> str:
    number = path.stem.partition("-")[2]
    return f"source from frame {int(number)}" if number.isdigit() else "source"


def _pictures(job: Job, folder: Path) -> str:
    """Single pictures as they come; the sheet at the end."""
    sheet = folder / "sheet.png"
    parts = [_grid(job, folder)] if job.command == "sweep" else []
    if sheet.exists():
        whole = figure(sheet, "all pictures on one sheet", "mv-wide")
        parts.append(f"<details><summary>The sheet</summary>{whole}</details>" if job.command == "sweep" else whole)
    made = [(path, path.stem.replace("-", " ")) for path in sorted(folder.glob("[!.]*.png")) if path != sheet]
    return "".join([*parts, strip(made, "Pictures", closed=bool(parts))]) if made else "".join(parts)


def _grid(job: Job, folder: Path) -> str:
    """A grid as it comes; a cell that is pressed sets its values for clips."""
    try:
        settings = job.settings()
        assert isinstance(settings, StillSettings)
        rows, columns = parse_grid(settings)
    except UserError:
        return ""
    head = "".join(f"<th scope='col'>{escape(label)}</th>" for label in columns.labels()) if columns.name else ""
    lines = [f"<tr><td></td>{head}</tr>" if head else ""]
    for row_number, (value, label) in enumerate(zip(rows.values, rows.labels(), strict=True), 1):
        cells = [f"<th scope='row'>{escape(label if rows.name else '')}</th>"]
        for column_number, other in enumerate(columns.values, 1):
            values = {axis.name: one for axis, one in ((rows, value), (columns, other)) if axis.name}
            cells.append(f"<td>{_cell(folder / f'target-row{row_number}-column{column_number}.png', values)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<div class='mv-grid' tabindex='0' role='group' aria-label='Grid'><table>{''.join(lines)}</table></div>"
        + note("Press a picture to set its values on the Clip tab.")
    )


def _cell(path: Path, values: dict[str, str]) -> str:
    if not path.exists():
        return ""
    name = ", ".join(f"{key} {value}" for key, value in values.items())
    return (
        f'<button type="button" data-pick="{escape(json.dumps(values))}" aria-label="Take {escape(name)} for clips">'
        f'<img src="{url_of(path)}" alt=""></button>'
    )


def _comic(job: Job, output: Path) -> str:
    """Panels as they come; the pages at the end."""
    folder = output.with_suffix("")
    pages = sorted((folder / "pages").glob("[!.]*.png"))
    parts = [figure(path, f"page {int(path.stem)}", "mv-page") for path in pages]
    if not pages and job.state in ("running", "stopped"):
        parts += _pages_so_far(job, folder / "panels")
    panels = sorted((folder / "panels").glob("[!.]*.png"))
    if panels:
        parts.append(strip([(path, f"panel {path.stem}") for path in panels], "Panels", closed=bool(pages)))
    parts += [download(path) for path in sorted(folder.glob("*.pdf")) + sorted(folder.glob("*.cbz"))]
    return "".join(parts)


def _pages_so_far(job: Job, panels: Path) -> list[str]:
    try:
        return [page_so_far(page, number) for number, page in enumerate(pages_so_far(job, panels), 1)]
    except (UserError, OSError):  # it is said elsewhere, or a panel got its name just now
        return []


def page_so_far(page: NDArray[np.uint8], number: int) -> str:
    """A page of a comic that is not done."""
    label = f"page {number} so far"
    return (
        f'<figure class="mv-figure mv-page"><img src="{data_url(page, 560)}" alt="{label}">'
        f"<figcaption>{label}</figcaption></figure>"
    )


def _settings(job: Job, folder: Path) -> str:
    """All settings of a run, as its folder has them."""
    config = job.output(folder).with_suffix("") / "config.yaml"
    if not config.is_file():
        return ""
    text = "\n".join(line for line in config.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return (
        f"<details class='mv-line'><summary>All its settings</summary><pre tabindex='0'>{escape(text)}</pre></details>"
    )


def _guidance(folder: Path) -> str:
    """The guidance of a clip while its frames are made."""
    parts = []
    for kind in sorted(path for path in folder.glob("guidance-*") if path.is_dir()):
        made = sorted(kind.glob("[0-9]*.png"))[:_FEW]
        if made:
            parts.append(strip([(path, f"{int(path.stem)}") for path in made], _spoken(kind.name), closed=True))
    return "".join(parts)


def _line(job: Job, folder: Path) -> str:
    line = escape(line_of(job, folder))
    return (
        f"<details class='mv-line'><summary>The same on the command line</summary><pre tabindex='0'><code>{line}</code>"
        f"</pre><button type='button' data-copy=\"{line}\">Copy</button><p class='mv-note'>Everything lies in "
        f"<code>{escape(str(folder))}</code>.</p></details>"
    )


def video(path: Path, label: str, classes: str = "") -> str:
    """A video that plays in the page."""
    where, text = url_of(path), escape(label)
    return (
        f'<figure class="mv-figure {classes}"><video src="{where}" aria-label="{text}" controls loop muted autoplay '
        f'playsinline preload="metadata"></video><figcaption>{text} · <a href="{where}" download="{escape(path.name)}">'
        "download</a></figcaption></figure>"
    )


def figure(path: Path, label: str, classes: str = "") -> str:
    """A picture with its name."""
    where, text = url_of(path), escape(label)
    return (
        f'<figure class="mv-figure {classes}"><a href="{where}" target="_blank"><img src="{where}" alt="{text}"></a>'
        f"<figcaption>{text}</figcaption></figure>"
    )


def strip(pictures: Sequence[tuple[Path, str]], title: str, *, closed: bool = False) -> str:
    """Small pictures in a row that can be scrolled."""
    return row([(url_of(path), name) for path, name in pictures if path.exists()], title, closed=closed)


def row(pictures: Iterable[tuple[str, str]], title: str, *, closed: bool = False) -> str:
    """The same with their addresses."""
    items = "".join(
        f'<li><img src="{where}" alt="{escape(name)}" loading="lazy"><span>{escape(name)}</span></li>'
        for where, name in pictures
    )
    return (
        f'<details class="mv-strip"{"" if closed else " open"}><summary>{escape(title)}</summary>'
        f'<ul tabindex="0" aria-label="{escape(title)}">{items}</ul></details>'
    )


def picture_url(png: bytes) -> str:
    """A small picture as part of a page."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def download(path: Path) -> str:
    """A link to a file."""
    return f'<p><a href="{url_of(path)}" download="{escape(path.name)}">Download {escape(path.name)}</a></p>'
