"""Jobs and their queue as HTML."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from masactrl_video.errors import counted
from masactrl_video.settings.fields import VIDEOS
from masactrl_video.settings.presets import preset_names, read_preset
from masactrl_video.web.following import Progress
from masactrl_video.web.job import Job
from masactrl_video.web.made import made_html
from masactrl_video.web.parts import note, problem
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
        made_html(job, folder),
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


def _settings(job: Job, folder: Path) -> str:
    """All settings of a run, as its folder has them."""
    config = job.output(folder).with_suffix("") / "config.yaml"
    if not config.is_file():
        return ""
    text = "\n".join(line for line in config.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return (
        f"<details class='mv-line'><summary>All its settings</summary><pre tabindex='0'>{escape(text)}</pre></details>"
    )


def _line(job: Job, folder: Path) -> str:
    line = escape(line_of(job, folder))
    return (
        f"<details class='mv-line'><summary>The same on the command line</summary><pre tabindex='0'><code>{line}</code>"
        f"</pre><button type='button' data-copy=\"{line}\">Copy</button><p class='mv-note'>Everything lies in "
        f"<code>{escape(str(folder))}</code>.</p></details>"
    )
