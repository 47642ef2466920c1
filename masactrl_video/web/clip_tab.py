"""The tab on which a clip is made anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from masactrl_video.errors import UserError, counted
from masactrl_video.poses.pose_clip import is_pose_json
from masactrl_video.settings.fields import settings_for
from masactrl_video.settings.names import OWN_MODELS
from masactrl_video.settings.presets import preset_names, read_preset, resolve
from masactrl_video.settings.settings import Settings
from masactrl_video.web.forms import SettingsForm
from masactrl_video.web.job_view import JobView
from masactrl_video.web.parts import note, problem, row
from masactrl_video.web.preview import ClipPreview, data_url, example_clip, found_poses, preview
from masactrl_video.web.queue import Queue
from masactrl_video.web.timeline_box import TimelineBox

_EMPTY = "Drop a clip and press “Make the clip”. The result plays here."
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_PREVIEWED = (
    *("canny_low_threshold", "canny_high_threshold", "skip_first_frames", "select_every_nth", "frame_load_cap"),
    *("frame_rate", "fit", "width", "height", "video_stream", "allow_partial", "guidance", "pose_canvas"),
)
"""Settings that change what the preview shows."""
_HIGHEST_THRESHOLD = 500
"""On the sliders; the command line takes any."""


class ClipTab:
    """Drop a video or pose JSON, look at its frames and guidance, and have it made."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self._ask()
            with gr.Column(scale=6, min_width=320):
                self.view = JobView(queue, ("render", "animate", "source record"), _EMPTY)
        self._wire()

    def _ask(self) -> None:
        self.form = SettingsForm("render", asked_elsewhere=("clip",))
        self.file = gr.File(label="A video, or pose JSON", height=130, elem_id="clip-file")
        self.example = gr.Button("Take the example clip", size="sm", elem_id="take-example")
        self.form.place("prompt")
        self.wrong = gr.HTML("", elem_id="clip-problem")
        with gr.Row():
            self.look = gr.Button("Show the source first", elem_id="clip-source")
            self.make = gr.Button("Make the clip", variant="primary", elem_id="clip-make")
        self.shown = gr.HTML("", elem_id="clip-preview")
        self.form.place("guidance")
        with gr.Row():
            self.form.place("canny_low_threshold", "canny_high_threshold", up_to=_HIGHEST_THRESHOLD)
        with gr.Row():
            self.preset = gr.Dropdown(
                preset_names(), value="demo", label="Preset", info="demo works at once; others download their models"
            )
            self.form.place("num_inference_steps")
        with gr.Accordion("Source: whose looks the frames take", open=False):
            self.form.place("source", "source_image", "character", "source_prompt")
        self.timeline = TimelineBox()
        self.form.place_rest()

    def _wire(self) -> None:
        self.form.wire(self.preset)
        inputs = self.inputs
        pictures = self.timeline.pictures
        for trigger in (self.file.upload, self.file.clear, pictures.upload, pictures.clear, pictures.delete):
            trigger(self.previewed, inputs, self.shows, **_QUIET)
        taken = self.example.click(self._example, None, self.file, **_QUIET)
        taken.then(self.previewed, inputs, self.shows, **_QUIET)
        watched = [self.form.components[name] for name in _PREVIEWED if name in self.form.components]
        gr.on(
            [component.input for component in watched],
            self.previewed,
            inputs,
            self.shows,
            trigger_mode="always_last",
            **_QUIET,
        )
        self.view.fill(self.make, self._make, inputs, self.wrong)
        self.view.fill(self.look, self._look, inputs, self.wrong)

    @property
    def inputs(self) -> list[Any]:
        """For `previewed`, and for a job."""
        return [self.preset, self.file, *self.timeline.inputs, *self.form.inputs]

    @property
    def shows(self) -> list[Any]:
        """Of `previewed`."""
        return [self.shown, self.timeline.html]

    def _example(self) -> str:
        return str(example_clip(self.queue.places.uploads))

    def previewed(self, preset: str, file: str | None, line: str, pictures: Any, *values: Any) -> list[Any]:
        """Frames and guidance, and the timeline; or what is wrong with the file."""
        if not file:
            return ["", self.timeline.shown(None, line, pictures)]
        try:
            path = self._sent(file)
            changes, _ = self.form.changes(preset, values)
            settings = resolve(read_preset(preset), {**_frames_of(changes), "clip": str(path)})
            seen = preview(settings)
            names = changes.get("guidance", settings.guidance)
            kinds = {settings.controls[name].kind for name in names if name in settings.controls}
            html = _described(seen) + self._frames(seen) + self._guidance(seen, settings, kinds, preset, values)
            return [html, self.timeline.shown(seen, line, pictures)]
        except UserError as error:
            return [problem(str(error).replace(f"{Path(file).parent}/", "")), gr.skip()]

    def _frames(self, seen: ClipPreview) -> str:
        shown = zip(seen.shown, seen.pictures, strict=True)
        return row([(data_url(one), f"frame {n}") for n, one in shown], "Poses" if seen.is_poses else "Frames")

    def _guidance(
        self, seen: ClipPreview, settings: Settings, kinds: set[str], preset: str, values: Sequence[Any]
    ) -> str:
        if seen.is_poses:
            return ""
        html = ""
        if "canny" in kinds:
            low, high = _thresholds(self.form, preset, values)
            shown = zip(seen.shown, seen.guidance(low, high), strict=True)
            pictures = [(data_url(one, kind="PNG"), f"edges {n}") for n, one in shown]
            html += row(pictures, f"Guidance: edges from {low:g} to {high:g}")
        return html + (self._poses(seen, settings) if "pose" in kinds else "")

    def _poses(self, seen: ClipPreview, settings: Settings) -> str:
        """Those that the package's own detector finds, which knows the demo model's world; others take their time."""
        if settings.model not in OWN_MODELS or not self.queue.wait_until_loaded():
            return note("Poses are found in the frames when the job begins.")
        shown = zip(seen.shown, found_poses(settings), strict=True)
        return row([(data_url(one, kind="PNG"), f"pose {n}") for n, one in shown], "Guidance: poses that are found")

    def _sent(self, file: str) -> Path:
        """Where a file that was sent lies.

        Raises:
            UserError: it lies anywhere else.
        """
        path = Path(file)
        if path.is_symlink() or not self.queue.places.is_inside(path):
            raise UserError(f"{path.name}: this is no file that was sent to this page; drop it there")
        return path

    def _make(self, preset: str, file: str | None, *values: Any) -> tuple[Any, str]:
        return self._added("render", preset, file, values)

    def _look(self, preset: str, file: str | None, *values: Any) -> tuple[Any, str]:
        return self._added("source record", preset, file, values)

    def _added(self, command: Any, preset: str, file: str | None, values: Sequence[Any]) -> tuple[Any, str]:
        """The name of a new job, or what is wrong with it."""
        try:
            if not file:
                raise UserError("There is no clip yet: drop a video or pose JSON above, or take the example.")
            path = self._sent(file)
            sources, values = self.timeline.said(*values[:2]), values[2:]
            changes, files = self.form.changes(preset, values)
            if sources:
                files["sources"] = sources
            if is_pose_json(path):
                command = "animate" if command == "render" else command
                changes.setdefault("guidance", ["pose"])
            known = settings_for(Settings, command)
            changes, files = ({name: one[name] for name in one if name in known} for one in (changes, files))
            job = self.queue.add(command, preset, changes, files={"clip": path, **files})
        except UserError as error:
            return gr.skip(), problem(str(error))
        return job.name, ""


def _frames_of(changes: dict[str, Any]) -> dict[str, Any]:
    """Of what was said, what changes the frames; the rest may be half-typed still."""
    names = ("skip_first_frames", "select_every_nth", "frame_load_cap", "frame_rate", "fit", "width", "height")
    more = ("video_stream", "allow_partial", "pose_canvas")
    return {name: changes[name] for name in (*names, *more) if name in changes}


def _thresholds(form: SettingsForm, preset: str, values: Sequence[Any]) -> tuple[float, float]:
    shown = dict(zip(form.fields, values, strict=True))
    return float(shown["canny_low_threshold"] or 0), float(shown["canny_high_threshold"] or 0)


def _described(seen: Any) -> str:
    width, height = seen.own_size_px
    used_height, used_width = seen.pictures[0].shape[:2]
    return note(
        f"{counted(seen.frames, 'frame')}, {seen.seconds:.1f} s, {width}x{height} px; the model sees "
        f"{used_width}x{used_height} px"
    )
