"""Sources along a clip, placed and dragged on its frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from masactrl_video.errors import UserError
from masactrl_video.settings.timeline import CLIP, GENERATED
from masactrl_video.sources.characters.store import character_names, default_root
from masactrl_video.web.preview import ClipPreview, data_url

_SCRIPT = Path(__file__).with_name("timeline.js")
_HELP = (
    "Each marker is a source that holds from its frame on. Drag a marker, or move it with the arrow keys; double-click "
    "a frame to add one. “generated” draws that frame anew as the same character, “clip” takes the frame itself."
)


class TimelineBox:
    """The component, and pictures that may be sources."""

    def __init__(self) -> None:
        with gr.Accordion("Timeline: several sources along the clip", open=False):
            gr.HTML(f"<p class='mv-note'>{_HELP}</p>")
            self.html = gr.HTML(
                _empty(),
                html_template="<div class='mv-timeline'></div>",
                js_on_load=_SCRIPT.read_text(encoding="utf-8"),
                elem_id="timeline",
            )
            self.pictures = gr.File(label="Pictures that may be sources", file_count="multiple", height=140)

    @property
    def inputs(self) -> list[Any]:
        """For `said`, and `shown`."""
        return [self.html, self.pictures]

    def shown(self, seen: ClipPreview | None, value: str, pictures: Sequence[str] | None) -> str:
        """The value that shows a clip, with the sources that still stand on it."""
        if seen is None:
            return _empty()
        choices = [GENERATED, CLIP, *character_names(default_root()), *(Path(one).name for one in pictures or [])]
        sources = [[frame, what] for frame, what in _sources(value) if frame < seen.frames and what in choices]
        if not sources or sources[0][0] != 0:
            sources = [[0, GENERATED], *sources]
        thumbs = [data_url(one, 120) for one in seen.pictures]
        return json.dumps({"frames": seen.frames, "pictures": thumbs, "choices": choices, "sources": sources})

    def said(self, value: str, pictures: Sequence[str] | None) -> dict[str, Any]:
        """Frame → what holds from it on, with files as paths; nothing where one generated source is all.

        Raises:
            UserError: it is none of ours.
        """
        given = {Path(one).name: Path(one) for one in pictures or []}
        sources = _sources(value)
        if [what for _, what in sources] in ([], [GENERATED]):
            return {}
        known = {GENERATED, CLIP, *character_names(default_root())}
        said: dict[str, Any] = {}
        for frame, what in sources:
            if what not in given and what not in known:
                raise UserError(f"sources: got {what[:80]!r}; choose one of those that the timeline has")
            said[str(frame)] = given.get(what, what)
        return said


def _empty() -> str:
    return json.dumps({"frames": 0, "pictures": [], "choices": [], "sources": []})


def _sources(value: str | None) -> list[tuple[int, str]]:
    """Frames and what holds from them on, in order; what is malformed counts as none."""
    try:
        found = json.loads(value or "{}")["sources"]
        return sorted((int(frame), str(what)) for frame, what in found if int(frame) >= 0)
    except (ValueError, TypeError, KeyError):
        return []
