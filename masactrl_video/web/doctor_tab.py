"""The tab that looks at this machine, and at the cache."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from masactrl_video.cache.manage import EntrySummary, default_cache_root, list_entries, prune, verify_entries
from masactrl_video.errors import UserError, counted
from masactrl_video.jobs.doctor import examine
from masactrl_video.settings.presets import preset_names
from masactrl_video.web.parts import note, problem

_QUIET: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_DAY_SECONDS = 24 * 3600


class DoctorTab:
    """What is here, what is missing, and what to do about it."""

    def __init__(self) -> None:
        with gr.Row(equal_height=False):
            with gr.Column(min_width=320):
                gr.HTML("<h2>This machine</h2>")
                self.preset = gr.Dropdown(preset_names(), value="demo", label="Preset whose model is needed")
                self.look = gr.Button("Look at this machine", variant="primary", elem_id="doctor-look")
                self.found = gr.HTML("", elem_id="doctor-found")
            with gr.Column(min_width=320):
                gr.HTML("<h2>Cache of recorded sources</h2>")
                with gr.Row():
                    self.list = gr.Button("List", size="sm", elem_id="cache-list")
                    self.verify = gr.Button("Check every byte", size="sm")
                with gr.Row():
                    self.days = gr.Number(30, label="Not used for so many days", minimum=0, precision=0)
                    self.prune = gr.Button("Remove those", size="sm", variant="stop")
                self.cache = gr.HTML("", elem_id="cache-found")
        self.look.click(self._examined, self.preset, self.found, **_QUIET)
        self.list.click(lambda: self._listed(False), None, self.cache, **_QUIET)
        self.verify.click(lambda: self._listed(True), None, self.cache, **_QUIET)
        self.prune.click(
            self._pruned, self.days, self.cache, js="(d) => window.confirm('Remove them?') ? d : -1", **_QUIET
        )

    def _examined(self, preset: str) -> str:
        findings = examine(preset)
        rows = "".join(
            f"<tr><td><span class='mv-state mv-finding-{found.state}'>{found.state}</span></td>"
            f"<th scope='row'>{escape(found.about)}</th><td>{escape(found.found)}"
            f"{f'<br><strong>{escape(found.advice)}</strong>' if found.advice else ''}</td></tr>"
            for found in findings
        )
        problems = sum(found.state == "problem" for found in findings)
        said = note(f"{counted(problems, 'problem')}." if problems else "No problems.")
        return f"{said}{_table(('State', 'What', 'Found'), rows)}"

    def _listed(self, checked: bool) -> str:
        root = default_cache_root()
        try:
            entries = verify_entries(root) if checked else list_entries(root)
        except UserError as error:
            return problem(str(error))
        return _entries(entries, f"{counted(len(entries), 'entry', 'entries')} in {root}")

    def _pruned(self, days: float | None) -> str:
        if days is None or days < 0:
            return ""
        try:
            gone = prune(default_cache_root(), older_than_days=days)
        except UserError as error:
            return problem(str(error))
        return note(f"{counted(len(gone), 'entry', 'entries')} removed.") + self._listed(False)


def _entries(entries: Sequence[EntrySummary], said: str) -> str:
    rows = "".join(
        f"<tr><th scope='row'><code>{escape(entry.name[:12])}</code></th><td>{entry.bytes / 1e6:.1f} MB</td>"
        f"<td>{_ago(entry.last_used_seconds)}</td><td>{escape(entry.problem or 'whole')}</td></tr>"
        for entry in reversed(entries)
    )
    return f"{note(said)}{_table(('Entry', 'Size', 'Last used', 'State'), rows) if rows else ''}"


def _ago(seconds: float) -> str:
    days = (time.time() - seconds) / _DAY_SECONDS
    return "today" if days < 1 else f"{counted(int(days), 'day')} ago"


def _table(heads: Sequence[str], rows: str) -> str:
    head = "".join(f"<th scope='col'>{name}</th>" for name in heads)
    return f"<div class='mv-scroll' tabindex='0'><table class='mv-table'><tr>{head}</tr>{rows}</table></div>"
