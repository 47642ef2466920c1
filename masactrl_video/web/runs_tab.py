"""The tab for what was made: look at it again, take its settings up again, and compare two."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import changed_settings
from masactrl_video.settings.fields import VIDEOS
from masactrl_video.web.clip_tab import ClipTab
from masactrl_video.web.job import MADE_HERE, Job
from masactrl_video.web.job_view import JobView
from masactrl_video.web.parts import note, problem
from masactrl_video.web.queue import Queue
from masactrl_video.web.show import title_of, when_of

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_EMPTY = "Choose a job to look at it again."


class RunsTab:
    """All jobs of the folder."""

    def __init__(self, queue: Queue, clip: ClipTab, tabs: Any) -> None:
        self.queue, self._clip, self._tabs = queue, clip, tabs
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self.chosen = gr.Dropdown(self._choices(), value=None, label="Job", elem_id="runs-job")
                self.take_up = gr.Button("Take its settings to the Clip tab", elem_id="runs-take-up")
                self.told = gr.HTML("")
                gr.HTML("<h2>Compare two</h2>")
                with gr.Row():
                    self.first = gr.Dropdown(self._choices(), value=None, label="First", elem_id="runs-first")
                    self.second = gr.Dropdown(self._choices(), value=None, label="Second", elem_id="runs-second")
                self.frame = gr.Slider(0, 1, value=0, step=1, label="Picture", interactive=True, buttons=[])
                self.slider = gr.ImageSlider(
                    label="First and second", type="filepath", interactive=False, visible=False
                )
                self.changed = gr.HTML("")
            with gr.Column(scale=6, min_width=320):
                self.view = JobView(queue, MADE_HERE, _EMPTY)
        self._wire()

    def refreshed(self) -> list[Any]:
        """Updates of what can be chosen; for `choices`."""
        return [gr.update(choices=self._choices())] * 3

    @property
    def choices(self) -> list[Any]:
        """Components that list all jobs."""
        return [self.chosen, self.first, self.second]

    def _wire(self) -> None:
        self.chosen.input(lambda name: name or "", self.chosen, self.view.name, **_QUIET)
        outputs = [self._tabs, self._clip.preset, self._clip.file, *self._clip.form.inputs, self.told]
        self.take_up.click(self._taken_up, self.view.name, outputs, **_QUIET).then(
            self._clip.previewed, self._clip.inputs, self._clip.shows, **_QUIET
        )
        compared = [self.slider, self.frame, self.changed]
        for component in (self.first, self.second, self.frame):
            component.input(
                self._compared, [self.first, self.second, self.frame], compared, trigger_mode="always_last", **_QUIET
            )

    def _choices(self) -> list[tuple[str, str]]:
        """Of all jobs, the newest first."""
        return [(f"{when_of(job)}  {title_of(job)} ({job.state})", job.name) for job in reversed(self.queue.jobs())]

    def _taken_up(self, name: str) -> list[Any]:
        nothing = [gr.skip()] * (3 + len(self._clip.form.inputs))
        try:
            if not name:
                raise UserError("Choose a job first.")
            job = self.queue.job(name)
            if job.command not in (*VIDEOS, "source record"):
                raise UserError("Only settings of a clip can be taken to the Clip tab.")
        except UserError as error:
            return [*nothing, problem(str(error))]
        filled = self._clip.form.filled(job.preset, job.changes)
        return [gr.update(selected="clip"), job.preset, job.changes.get("clip"), *filled, ""]

    def _compared(self, first: str | None, second: str | None, number: float) -> list[Any]:
        if not (first and second):
            return [gr.skip(), gr.skip(), note("Choose two jobs.")]
        try:
            jobs = [self.queue.job(name) for name in (first, second)]
            pictures = [_pictures(job, self.queue.folder(job)) for job in jobs]
            for job, made in zip(jobs, pictures, strict=True):
                if not made:
                    raise UserError(f"{title_of(job)}: nothing is made yet")
            count = min(map(len, pictures))
            place = min(int(number or 0), count - 1)
            shown = tuple(str(made[place]) for made in pictures)
            table = _changes(*jobs)
        except UserError as error:
            return [gr.skip(), gr.skip(), problem(str(error))]
        return [gr.update(value=shown, visible=True), gr.update(maximum=max(1, count - 1), value=place), table]


def _pictures(job: Job, folder: Path) -> list[Path]:
    output = job.output(folder)
    whole = [output] if output.suffix == ".png" and output.is_file() else []
    within = output.with_suffix("")
    for found in (within / "frames").glob("[0-9]*.png"), (within / "pages").glob("[0-9]*.png"):
        if pictures := sorted(found):
            return pictures
    return sorted(output.glob("target-*.png")) or whole


def _changes(first: Job, second: Job) -> str:
    """What the settings of two jobs differ in."""
    if "comic" in (first.command, second.command):
        return ""
    lines = changed_settings(first.settings().as_yaml_data(), second.settings().as_yaml_data())
    lines = [line for line in lines if not line.startswith("clip:")]
    if not lines:
        return note("All settings that change a picture are the same.")
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<p>From the first to the second:</p><ul class='mv-changes'>{items}</ul>"
