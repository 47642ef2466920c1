"""The tab for comics: a story in, panels as they come, and pages."""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path
from typing import Any

import gradio as gr
import yaml

from masactrl_video.errors import UserError
from masactrl_video.page.layout import LAYOUTS
from masactrl_video.poses.named_poses import pose_names
from masactrl_video.settings.presets import preset_names
from masactrl_video.settings.text_file import read_text
from masactrl_video.storage.text import encodable
from masactrl_video.web.comic_page import pages_so_far
from masactrl_video.web.forms import SettingsForm
from masactrl_video.web.job import Job
from masactrl_video.web.job_view import JobView
from masactrl_video.web.making import check_own_files
from masactrl_video.web.parts import page_so_far, problem
from masactrl_video.web.queue import Queue

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_EMPTY = "Panels appear here one by one, then the pages."
_OF_STORY = "as the story says"
_STORY, _SCRIPT = "Story (YAML)", "Script, a line a panel"
_LONGEST_BYTES = 100_000
_EXAMPLE = """\
characters:
  bear:
    prompt: a bear in a red shirt and blue pants standing in the meadow
    pose: standing
    words: [bear, shirt, pants]
panels:
  - prompt: a bear in a red shirt and blue pants waving in the meadow
    pose: waving
    caption: One fine morning.
    balloons:
      - {text: "Hello! Is anybody there?", by: bear}
  - prompt: a bear in a red shirt and blue pants running in the snow
    pose: running
    balloons:
      - {text: "SNOW!", by: bear, kind: shout}
  - prompt: a bear in a red shirt and blue pants sitting at the beach
    pose: sitting
    caption: The end.
"""
_EXAMPLE_SCRIPT = """\
waving in the meadow # One fine morning.
running in the snow # Then the weather changed.
dancing at the beach # The end.
"""


class ComicTab:
    """Write a story, and have it drawn."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self._ask()
            with gr.Column(scale=6, min_width=320):
                with gr.Accordion("The page as it is written", open=False) as self.draft:
                    self.live = gr.HTML("", elem_id="comic-live")
                self.view = JobView(queue, ("comic",), _EMPTY)
        self._wire()

    def _ask(self) -> None:
        self.form = SettingsForm("comic")
        self.kind = gr.Radio([_STORY, _SCRIPT], value=_STORY, label="Written as")
        self.text = gr.Textbox(
            _EXAMPLE,
            lines=18,
            max_lines=30,
            label="The story",
            elem_id="comic-story",
            elem_classes="mv-mono",
            info="panels with prompts, poses, captions and balloons",
        )
        with gr.Accordion("Add a panel", open=False):
            self.prompt = gr.Textbox("", label="What it shows", elem_id="panel-prompt")
            with gr.Row():
                self.pose = gr.Dropdown(["none", *pose_names()], value="none", label="Pose")
                self.caption = gr.Textbox("", label="Caption")
                self.balloon = gr.Textbox("", label="Balloon")
            self.add = gr.Button("Add it to the story", size="sm", elem_id="panel-add")
        self.file = gr.UploadButton("Take a story from a file", size="sm", file_types=[".yaml", ".yml", ".txt"])
        self.who = gr.Textbox(
            "a bear in a red shirt and blue pants", label="What the character of the script looks like", visible=False
        )
        with gr.Row():
            self.layout = gr.Dropdown([_OF_STORY, "auto", *LAYOUTS], value=_OF_STORY, label="Layout of the pages")
            self.preset = gr.Dropdown(preset_names(), value="demo", label="Preset")
        self.form.place_rest()
        self.wrong = gr.HTML("", elem_id="comic-problem")
        self.make = gr.Button("Draw the comic", variant="primary", elem_id="comic-make")

    def _wire(self) -> None:
        self.form.wire(self.preset)
        self.kind.input(self._of_kind, [self.kind, self.text], [self.text, self.who], **_QUIET)
        self.file.upload(self._read, self.file, [self.kind, self.text, self.who, self.wrong], **_QUIET)
        inputs = [self.preset, self.kind, self.text, self.who, self.layout, *self.form.inputs]
        self.view.fill(self.make, self._added, inputs, self.wrong)
        story = [self.kind, self.text, self.who, self.layout]
        gr.on(
            [self.draft.expand, self.text.change, self.layout.input, self.who.input],
            self._drafted,
            story,
            self.live,
            trigger_mode="always_last",
            **_QUIET,
        )
        panel = [self.prompt, self.pose, self.caption, self.balloon]
        self.add.click(self._with_panel, [self.kind, self.text, *panel], [self.text, self.wrong], **_QUIET)

    def _of_kind(self, kind: str, text: str) -> list[Any]:
        """The other example, unless something of one's own stands there."""
        of_script = kind == _SCRIPT
        example = _EXAMPLE_SCRIPT if of_script else _EXAMPLE
        return [example if text in (_EXAMPLE, _EXAMPLE_SCRIPT, "") else gr.skip(), gr.update(visible=of_script)]

    def _with_panel(self, kind: str, text: str, prompt: str, pose: str, caption: str, balloon: str) -> list[Any]:
        """The story with one more panel at its end."""
        if not prompt.strip():
            return [gr.skip(), problem("Say what the panel shows.")]
        if kind == _SCRIPT:
            more = " ".join(filter(None, [prompt.strip(), caption.strip() and f"# {caption.strip()}"]))
            return [f"{text.rstrip()}\n{more}\n", ""]
        panel: dict[str, Any] = {"prompt": prompt.strip()}
        panel |= {"pose": pose} if pose != "none" else {}
        panel |= {"caption": caption.strip()} if caption.strip() else {}
        panel |= {"balloons": [{"text": balloon.strip()}]} if balloon.strip() else {}
        lines = yaml.safe_dump([panel], sort_keys=False, allow_unicode=True, width=10**6)
        head = text.rstrip() if "panels:" in text else f"{text.rstrip()}\npanels:".lstrip()
        return [f"{head}\n{textwrap.indent(lines, '  ')}", ""]

    def _read(self, file: str) -> list[Any]:
        path = Path(file)
        try:
            if not self.queue.places.is_inside(path) or path.is_symlink():
                raise UserError(f"{path.name}: this is no file that was sent to this page")
            text = read_text(path, "a story", _LONGEST_BYTES)
        except UserError as error:
            return [gr.skip(), gr.skip(), gr.skip(), problem(str(error).replace(f"{path.parent}/", ""))]
        is_script = path.suffix.lower() == ".txt"
        return [_SCRIPT if is_script else _STORY, text, gr.update(visible=is_script), ""]

    def _drafted(self, kind: str, text: str, who: str, layout: str) -> str:
        """The pages of what is written, with empty panels."""
        with tempfile.TemporaryDirectory(dir=self.queue.places.uploads) as folder:
            try:
                more = _more(kind, who, layout) | {"story": str(_written(kind, text, Path(folder)))}
                job = Job("", "comic", more=more)
                if self.queue.for_others:
                    check_own_files(job, self.queue.places.root)
                return "".join(page_so_far(page, number) for number, page in enumerate(pages_so_far(job), 1))
            except UserError as error:
                return problem(str(error).replace(f"{folder}/", ""))

    def _added(self, preset: str, kind: str, text: str, who: str, layout: str, *values: Any) -> tuple[Any, str]:
        try:
            changes, files = self.form.changes(preset, values)
            with tempfile.TemporaryDirectory(dir=self.queue.places.uploads) as folder:
                story = _written(kind, text, Path(folder))
                more = _more(kind, who, layout)
                job = self.queue.add("comic", preset, changes, more, {**files, "story": story})
        except UserError as error:
            return gr.skip(), problem(str(error))
        return job.name, ""


def _more(kind: str, who: str, layout: str) -> dict[str, Any]:
    """What the command takes besides settings."""
    more: dict[str, Any] = {"story": ""}
    if layout != _OF_STORY:
        more["layout"] = layout
    if kind == _SCRIPT:
        more["prompt"] = who
    return more


def _written(kind: str, text: str, folder: Path) -> Path:
    """The story in a file.

    Raises:
        UserError: it is too long.
    """
    if len(text) > _LONGEST_BYTES:
        raise UserError(f"the story has {len(text)} letters; at most {_LONGEST_BYTES} are taken")
    path = folder / ("story.txt" if kind == _SCRIPT else "story.yaml")
    path.write_text(encodable(text), encoding="utf-8")
    return path
