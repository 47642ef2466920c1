"""A job as the page shows it: how far it is, what it has made, and buttons to stop it and to go on."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from masactrl_video.errors import UserError
from masactrl_video.web.queue import Queue
from masactrl_video.web.show import job_html

_COPY = """
element.addEventListener('click', event => {
  const copy = event.target.closest('[data-copy]');
  if (copy) navigator.clipboard.writeText(copy.dataset.copy).then(() => { copy.textContent = 'Copied'; });
  const cell = event.target.closest('[data-pick]');
  if (cell) trigger('pick', {values: JSON.parse(cell.dataset.pick)});
});
"""
"""Buttons that the job's HTML has: one copies its line, others pick a cell of a grid."""

_LOOK = """(name) => {
  if (!name || window.innerWidth > 800) return name;
  setTimeout(() => [...document.querySelectorAll('.mv-job')].find(job => job.offsetParent)
    ?.scrollIntoView({behavior: 'smooth'}), 600);
  return name;
}"""

REMEMBER = """(name) => {
  const place = new URL(window.location);
  if (name) place.searchParams.set('job', name);
  window.history.replaceState({}, '', place);
  return name;
}"""
"""The page's address names the job, so that a reload finds it, and another tab may have another."""


class JobView:
    """A place where one job is shown at a time. Make it inside `gr.Blocks`."""

    def __init__(self, queue: Queue, commands: tuple[str, ...], empty: str) -> None:
        """Args: commands: of the jobs that are shown here; empty: what stands here before there is one."""
        self.queue, self.commands = queue, commands
        self._empty = f'<div class="mv-empty">{empty}</div>'
        self.html = gr.HTML(self._empty, js_on_load=_COPY)
        with gr.Row():
            self.stop = gr.Button("Stop", visible=False, variant="stop", size="sm")
            self.go_on = gr.Button("Go on", visible=False, variant="primary", size="sm")
        self.name = gr.Textbox("", visible="hidden", label="job")
        self.shown = gr.State(("", ""))
        quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self.stop.click(self._stop, self.name, self.outputs, **quiet)
        self.go_on.click(self._go_on, self.name, self.outputs, **quiet)
        self.name.change(self.refresh, [self.name, self.shown], self.outputs, js=None, **quiet)
        self.name.change(None, self.name, None, js=REMEMBER)

    def fill(self, button: Any, add: Callable[..., Any], inputs: list[Any], wrong: Any) -> None:
        """Have a button add a job, and show it here; on a narrow screen the page goes there.

        Args:
            add: returns the job's name and what is wrong, as HTML.
            wrong: where the latter is shown.
        """
        quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        added = button.click(add, inputs, [self.name, wrong], **quiet)
        added.then(None, self.name, None, js=_LOOK)

    @property
    def inputs(self) -> list[Any]:
        """For `refresh`."""
        return [self.name, self.shown]

    @property
    def outputs(self) -> list[Any]:
        """Of `refresh`."""
        return [self.html, self.stop, self.go_on, self.shown]

    def refresh(self, name: str, shown: tuple[str, str]) -> list[Any]:
        """Updates where the job has changed since it was shown; a video that plays is left alone."""
        if not name:
            return [gr.skip()] * 4
        try:
            job = self.queue.job(name)
            html, state = job_html(self.queue, job), str(job.state)
        except OSError:  # a file has gone or got its name while it was looked at
            return [gr.skip()] * 4
        except UserError as error:
            html, state = f'<div class="mv-empty">{escape(str(error))}</div>', ""
        if (html, state) == tuple(shown):
            return [gr.skip()] * 4
        runs, rests = state in ("waiting", "running"), state in ("stopped", "failed")
        label = "Try again" if state == "failed" else "Go on"
        return [html, gr.update(visible=runs), gr.update(visible=rests, value=label), (html, state)]

    def latest(self) -> str:
        """The name of the job that somebody who comes anew sees: one that is not done, else none."""
        names = [job.name for job in self.queue.waiting() if job.command in self.commands]
        return names[0] if names else ""

    def _stop(self, name: str) -> list[Any]:
        if name:
            self.queue.stop(name)
        return self.refresh(name, ("", ""))

    def _go_on(self, name: str) -> list[Any]:
        if name:
            self.queue.go_on(name)
        return self.refresh(name, ("", ""))
