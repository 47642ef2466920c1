"""The whole page: its tabs, the queue above them, and what keeps both up to date."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from masactrl_video.errors import UserError
from masactrl_video.web.characters_tab import CharactersTab
from masactrl_video.web.clip_tab import ClipTab
from masactrl_video.web.comic_tab import ComicTab
from masactrl_video.web.doctor_tab import DoctorTab
from masactrl_video.web.form_fields import FormField
from masactrl_video.web.job_view import JobView
from masactrl_video.web.poses_tab import PosesTab
from masactrl_video.web.queue import Queue
from masactrl_video.web.runs_tab import RunsTab
from masactrl_video.web.show import queue_html
from masactrl_video.web.stills_tab import StillsTab

TITLE = "masactrl-video"
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_STYLE = Path(__file__).with_name("style.css")


def style() -> str:
    """The page's own style."""
    return _STYLE.read_text(encoding="utf-8")


def theme() -> Any:
    """Colours and fonts; fonts are those of the machine, so that none is asked for elsewhere."""
    sans = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    looks = gr.themes.Default(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=sans, font_mono=mono, radius_size="md"
    )
    return looks.set(**_COLOURS)


_COLOURS = {
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_300",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_300",
    "block_label_text_color": "*neutral_700",
    "block_label_text_color_dark": "*neutral_200",
    "block_title_text_color": "*neutral_700",
    "block_title_text_color_dark": "*neutral_200",
    "color_accent": "*primary_700",
    "link_text_color": "*primary_700",
    "link_text_color_dark": "*primary_300",
    "slider_color": "*primary_600",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_dark": "*primary_700",
    "button_primary_background_fill_hover_dark": "*primary_600",
    "button_primary_text_color": "white",
    "button_cancel_background_fill": "*neutral_200",
    "button_cancel_background_fill_dark": "*neutral_600",
    "button_cancel_text_color": "#b42318",
    "button_cancel_text_color_dark": "#fecaca",
}
"""Texts stand out from what is behind them by 4.5 to 1 at least, in light and in dark."""


def page(queue: Queue) -> Any:
    """The page of a queue."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 7 * 86400)) as blocks:
        gr.HTML(
            "<header class='mv-head'><h1>masactrl-video</h1><p>One character, the same in every frame.</p></header>",
        )
        waiting = gr.HTML(queue_html(queue), elem_id="queue")
        with gr.Tabs(elem_id="tabs") as tabs:
            made = _tabs(queue, tabs)
        _keep_up(blocks, queue, waiting, tabs, made)
    return blocks


@dataclass(frozen=True)
class _Tabs:
    """What the tabs have in common."""

    views: dict[str, JobView]
    """Tab → where its jobs are shown."""
    runs: RunsTab


def _tabs(queue: Queue, tabs: Any) -> _Tabs:
    with gr.Tab("Clip", id="clip"):
        clip = ClipTab(queue)
    with gr.Tab("Stills", id="stills"):
        stills = StillsTab(queue)
    with gr.Tab("Poses", id="poses"):
        PosesTab(queue, clip, tabs)
    with gr.Tab("Characters", id="characters"):
        characters = CharactersTab(queue)
    with gr.Tab("Comic", id="comic"):
        comic = ComicTab(queue)
    with gr.Tab("Runs", id="runs"):
        runs = RunsTab(queue, clip, tabs)
    with gr.Tab("Doctor", id="doctor"):
        DoctorTab()
    stills.view.html.pick(_picked(clip), None, [tabs, *clip.form.inputs], **_QUIET)
    views = {"clip": clip.view, "stills": stills.view, "characters": characters.view, "comic": comic.view}
    return _Tabs({**views, "runs": runs.view}, runs)


def _picked(clip: ClipTab) -> Any:
    """A handler that sets the values of a cell, as far as a clip has such settings."""

    def pick(event: gr.EventData) -> list[Any]:
        values = event.values if isinstance(event.values, dict) else {}
        updates = [_value(field, values.get(name)) for name, field in clip.form.fields.items()]
        return [gr.update(selected="clip"), *updates]

    pick.__annotations__["event"] = gr.EventData
    return pick


def _value(field: FormField, text: Any) -> Any:
    """An update to a value of a grid; nothing where the form cannot take it."""
    if not isinstance(text, str):
        return gr.skip()
    if field.kind == "number":
        return gr.update(value=float(text)) if text.replace(".", "", 1).isdecimal() else gr.skip()
    return gr.update(value=text) if field.kind in ("choice", "text") else gr.skip()


def _keep_up(blocks: Any, queue: Queue, waiting: Any, tabs: Any, made: _Tabs) -> None:
    """A reload finds its job by the page's address; every second what has changed is shown."""
    views = made.views
    inputs = [component for view in views.values() for component in view.inputs]
    outputs = [component for view in views.values() for component in view.outputs]

    def tick(shown: str, *states: Any) -> list[Any]:
        html = queue_html(queue)
        updates: list[Any] = [gr.skip() if html == shown else html]
        for view, name, before in zip(views.values(), states[::2], states[1::2], strict=True):
            updates += view.refresh(name, before)
        return updates

    def load(request: gr.Request) -> list[Any]:
        asked = str(request.query_params.get("job", ""))
        names = {tab: view.latest() for tab, view in views.items()} | {"runs": ""}
        chosen = gr.skip()
        try:
            command = queue.job(asked).command if asked else None
            for tab, view in views.items():
                if command in view.commands and tab != "runs":
                    names[tab], chosen = asked, gr.update(selected=tab)
        except UserError:
            pass  # a job that somebody has removed
        return [chosen, *names.values(), *made.runs.refreshed()]

    load.__annotations__["request"] = gr.Request
    gr.Timer(1.0).tick(tick, [waiting, *inputs], [waiting, *outputs], **_QUIET)
    waiting.change(made.runs.refreshed, None, made.runs.choices, **_QUIET)
    blocks.load(load, None, [tabs, *(view.name for view in views.values()), *made.runs.choices], **_QUIET)
