"""What a job has made so far, as HTML."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from masactrl_video.errors import UserError, counted
from masactrl_video.jobs.grid import parse_grid
from masactrl_video.settings.fields import STILLS, VIDEOS
from masactrl_video.settings.stills import StillSettings
from masactrl_video.web.comic_page import pages_so_far
from masactrl_video.web.job import Job
from masactrl_video.web.parts import download, figure, note, page_so_far, strip, url_of, video

_MOST_FRAMES, _FEW = 240, 24
"""Pictures of a run on one page; the folder has them all."""


def made_html(job: Job, folder: Path) -> str:
    """Pictures and videos of a job, those that are there."""
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


def _guidance(folder: Path) -> str:
    """The guidance of a clip while its frames are made."""
    parts = []
    for kind in sorted(path for path in folder.glob("guidance-*") if path.is_dir()):
        made = sorted(kind.glob("[0-9]*.png"))[:_FEW]
        if made:
            parts.append(strip([(path, f"{int(path.stem)}") for path in made], _spoken(kind.name), closed=True))
    return "".join(parts)
