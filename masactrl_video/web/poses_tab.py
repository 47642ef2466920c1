"""The tab on which poses are drawn: joints are dragged, key poses tweened, and the result taken to the Clip tab."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import gradio as gr
import numpy as np

from masactrl_video.controls.plan import OWN_DETECTOR
from masactrl_video.errors import UserError, counted
from masactrl_video.jobs.poses import detect_poses, load_poses, save_poses, treat_poses
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.named_poses import named_pose, pose_names
from masactrl_video.poses.pose import BODY_NAMES, LIMBS, Person, Pose
from masactrl_video.poses.pose_clip import is_pose_json
from masactrl_video.poses.tween import tween
from masactrl_video.settings.names import Easing
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.settings.settings import Settings
from masactrl_video.web.clip_tab import ClipTab
from masactrl_video.web.parts import note, problem, row
from masactrl_video.web.preview import data_url
from masactrl_video.web.queue import Queue

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_SCRIPT = Path(__file__).with_name("poses.js")
_HELP = (
    "Drag a joint, or move it with the arrow keys. Double-click it, or press Delete, to say that it is not seen, and "
    "again to bring it back. The key poses before and after are shown faintly."
)
_MOST_KEYS, _SHOWN = 400, 12
_START = "standing"


class PosesTab:
    """Key poses in, a clip of poses out."""

    def __init__(self, queue: Queue, clip: ClipTab, tabs: Any) -> None:
        self.queue, self._clip, self._tabs = queue, clip, tabs
        with gr.Row(equal_height=False):
            with gr.Column(scale=6, min_width=320):
                gr.HTML(f"<p class='mv-note'>{_HELP}</p>")
                self.editor = gr.HTML(
                    _value([named_pose(_START)]),
                    html_template="<div class='mv-poses'></div>",
                    js_on_load=_SCRIPT.read_text(encoding="utf-8"),
                    elem_id="poses-editor",
                )
            with gr.Column(scale=5, min_width=320):
                self._ask()
        self._wire()

    def _ask(self) -> None:
        with gr.Row():
            self.named = gr.Dropdown(pose_names(), value=_START, label="A pose that ships with the package")
            self.take = gr.Button("Add it as a key pose", size="sm", elem_id="poses-add")
        self.file = gr.File(
            label="Pose JSON, or a clip: key poses",
            height=140,
            elem_id="poses-file",
        )
        with gr.Row():
            self.easing = gr.Dropdown(list(get_args(Easing)), value="ease-in-out", label="From key to key")
            self.loop = gr.Checkbox(False, label="Loop", info="after the last frame comes the first")
            self.back = gr.Number(12, label="Frames back to the first", minimum=1, precision=0)
        with gr.Accordion("Smooth, and give another body", open=False):
            self.smooth = gr.Number(None, label="Smooth", info="window in frames, odd, from 5; empty: not", precision=0)
            self.body = gr.File(label="Body whose bone lengths the poses get: pose JSON", height=140)
        self.wrong = gr.HTML("")
        with gr.Row():
            self.make = gr.Button("Make the poses", variant="primary", elem_id="poses-make")
            self.use = gr.Button("Take them to the Clip tab", interactive=False, elem_id="poses-use")
        self.shown = gr.HTML("", elem_id="poses-shown")
        self.made = gr.File(label="Pose JSON", visible=False, interactive=False)

    def _wire(self) -> None:
        self.take.click(self._add, [self.editor, self.named], [self.editor, self.wrong], **_QUIET)
        self.file.upload(self._read, self.file, [self.editor, self.wrong], **_QUIET)
        inputs = [self.editor, self.easing, self.loop, self.back, self.smooth, self.body]
        self.make.click(self._make, inputs, [self.shown, self.made, self.use, self.wrong], **_QUIET)
        clip = self._clip
        self.use.click(
            lambda file: [file, gr.update(selected="clip")], self.made, [clip.file, self._tabs], **_QUIET
        ).then(clip.previewed, clip.inputs, clip.shows, **_QUIET)

    def _add(self, value: str, name: str) -> list[Any]:
        try:
            keys, at = _keys(value)
            gap = at[-1] - at[-2] if len(at) > 1 else 12
            first = keys[0]
            pose = named_pose(name).scaled(width_px=first.width_px, height_px=first.height_px)
            return [_value([*keys, pose], [*at, at[-1] + gap]), ""]
        except UserError as error:
            return [gr.skip(), problem(str(error))]

    def _read(self, file: str) -> list[Any]:
        path = Path(file)
        try:
            if path.is_symlink() or not self.queue.places.is_inside(path):
                raise UserError(f"{path.name}: this is no file that was sent to this page")
            poses = load_poses(_settings(path), path) if is_pose_json(path) else self._found(path)
            if len(poses) > _MOST_KEYS:
                raise UserError(f"{path.name}: {len(poses)} poses; at most {_MOST_KEYS} are edited here")
            dropped = any(len(person.parts()) > 1 for pose in poses for person in pose.people)
            said = note("Bodies are edited; hands and faces are left out.") if dropped else ""
            return [_value(poses), said]
        except UserError as error:
            return [gr.skip(), problem(str(error).replace(f"{path.parent}/", ""))]

    def _found(self, path: Path) -> list[Pose]:
        """The poses in a clip, by the detector that ships with the package: it knows the demo model's world."""
        self.queue.wait_until_loaded()
        settings = resolve(
            {**read_preset("demo"), "guidance": ["pose"]},
            {"clip": str(path), "pose_detector": OWN_DETECTOR, "frame_load_cap": _MOST_KEYS},
        )
        return treat_poses(settings, detect_poses(settings))

    def _make(self, value: str, easing: str, loop: bool, back: float, smooth: float | None, body: Any) -> list[Any]:
        """A pose for every frame, as pictures and as JSON."""
        try:
            keys, at = _keys(value)
            poses = keys
            if len(keys) > 1:
                poses = tween(keys, [*at, at[-1] + int(back or 1)] if loop else at, easing=easing, loop=loop)  # type: ignore[arg-type]
            settings = _settings(Path("poses.json"), smooth, body)
            if smooth or body:
                poses = treat_poses(settings, poses)
            path = Path(tempfile.mkdtemp(dir=self.queue.places.uploads)) / "poses.json"
            save_poses(path, poses)
        except UserError as error:
            return [gr.skip(), gr.skip(), gr.skip(), problem(str(error))]
        places = sorted({round(place) for place in np.linspace(0, len(poses) - 1, min(_SHOWN, len(poses)))})
        shown = [(data_url(draw_pose(poses[place]), 140, "PNG"), f"frame {place}") for place in places]
        html = note(f"{counted(len(poses), 'pose')}.") + row(shown, "Poses")
        return [html, gr.update(value=str(path), visible=True), gr.update(interactive=True), ""]


def _settings(path: Path, smooth: float | None = None, body: Any = None) -> Settings:
    given = {"smooth_poses": smooth and int(smooth), "retarget": body}
    base = {**read_preset("demo"), "guidance": ["pose"]}
    return resolve(base, {"clip": str(path), **{name: value for name, value in given.items() if value}})


def _value(poses: Sequence[Pose], at: Sequence[int] | None = None) -> str:
    """What the editor shows."""
    keys = [
        {"frame": frame, "people": [_points(person) for person in pose.people]}
        for frame, pose in zip(at or range(len(poses)), poses, strict=True)
    ]
    size = {"width": poses[0].width_px, "height": poses[0].height_px}
    return json.dumps({**size, "limbs": LIMBS, "names": BODY_NAMES, "keys": keys})


def _points(person: Person) -> list[list[float]]:
    return [[round(float(x), 1), round(float(y), 1), int(seen > 0)] for x, y, seen in person.body]


def _keys(value: str) -> tuple[list[Pose], list[int]]:
    """Key poses and their frames, as the editor holds them.

    Raises:
        UserError: it holds something else.
    """
    try:
        data = json.loads(value)
        width, height = int(data["width"]), int(data["height"])
        keys = sorted(data["keys"], key=lambda key: int(key["frame"]))[: _MOST_KEYS + 1]
        if not keys or not (0 < width <= 1 << 16 and 0 < height <= 1 << 16):
            raise ValueError("no key pose")
        poses = [Pose(tuple(_person(points) for points in key["people"]), width, height) for key in keys]
        return poses, [int(key["frame"]) for key in keys]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"the key poses cannot be read ({error}); load a pose again") from error


def _person(points: Any) -> Person:
    body = np.zeros((len(BODY_NAMES), 3), np.float32)
    for number, (x, y, seen) in enumerate(points):
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError("a joint is nowhere")
        if seen:
            body[number] = x, y, 1
    return Person(body)
