"""The whole page: its tabs, the queue above them, and what keeps both up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from masactrl_video.errors import UserError
from masactrl_video.web.clip_tab import ClipTab
from masactrl_video.web.job_view import JobView
from masactrl_video.web.queue import Queue
from masactrl_video.web.show import queue_html

TITLE = "masactrl-video"
_STYLE = Path(__file__).with_name("style.css")


def style() -> str:
    """The page's own style."""
    return _STYLE.read_text(encoding="utf-8")


def theme() -> Any:
    """Colours and fonts; fonts are those of the machine, so that none is asked for elsewhere."""
    sans = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    return gr.themes.Default(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=sans, font_mono=mono, radius_size="md"
    ).set(
        block_label_text_size="*text_sm",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_text_color="white",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )


def page(queue: Queue) -> Any:
    """The page of a queue."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 7 * 86400)) as blocks:
        gr.HTML(
            "<header class='mv-head'><h1>masactrl-video</h1><p>One character, the same in every frame.</p></header>",
        )
        waiting = gr.HTML(queue_html(queue), elem_id="queue")
        with gr.Tabs(elem_id="tabs") as tabs:
            views = _tabs(queue)
        _keep_up(blocks, queue, waiting, tabs, views)
    return blocks


def _tabs(queue: Queue) -> dict[str, JobView]:
    """Make all tabs; returns where each shows its jobs."""
    views = {}
    with gr.Tab("Clip", id="clip"):
        views["clip"] = ClipTab(queue).view
    return views


def _keep_up(blocks: Any, queue: Queue, waiting: Any, tabs: Any, views: dict[str, JobView]) -> None:
    """A reload finds its job by the page's address; every second what has changed is shown."""
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
        names = {tab: view.latest() for tab, view in views.items()}
        chosen = gr.skip()
        try:
            command = queue.job(asked).command if asked else None
            for tab, view in views.items():
                if command in view.commands:
                    names[tab], chosen = asked, gr.update(selected=tab)
        except UserError:
            pass  # a job that somebody has removed
        return [chosen, *names.values()]

    load.__annotations__["request"] = gr.Request
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    gr.Timer(1.0).tick(tick, [waiting, *inputs], [waiting, *outputs], **quiet)
    blocks.load(load, None, [tabs, *(view.name for view in views.values())], **quiet)
