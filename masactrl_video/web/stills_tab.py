"""The tab for still pictures: from prompts, of a given picture, a grid over two settings, and a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import gradio as gr

from masactrl_video.errors import UserError
from masactrl_video.poses.named_poses import pose_names
from masactrl_video.settings.fields import STILLS, Command, settings_for
from masactrl_video.settings.presets import preset_names
from masactrl_video.settings.stills import StillSettings
from masactrl_video.web.forms import SettingsForm
from masactrl_video.web.job_view import JobView
from masactrl_video.web.parts import problem
from masactrl_video.web.queue import Queue

_EMPTY = "Pictures appear here one by one."
_SOURCE = "a panda in a blue shirt and red pants standing in the meadow"
_TARGET = "a panda in a blue shirt and red pants waving in the meadow"
_OTHER_TARGET = "a panda in a blue shirt and red pants sitting in the meadow"

_TABS = {
    "synthesize": ("From prompts", "Make the pictures"),
    "edit": ("Change a picture", "Change the picture"),
    "sweep": ("Grid", "Make the grid"),
    "compare": ("Compare methods", "Compare"),
}


class StillsTab:
    """A form for each command, and one place for what they make."""

    def __init__(self, queue: Queue) -> None:
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                forms = []
                with gr.Tabs():
                    for command, (title, _) in _TABS.items():
                        with gr.Tab(title, id=command):
                            forms.append(StillForm(queue, cast(Command, command)))
            with gr.Column(scale=6, min_width=320):
                self.view = JobView(queue, tuple(sorted(STILLS)), _EMPTY)
        for form in forms:
            form.wire(self.view)


class StillForm:
    """What one command asks for."""

    def __init__(self, queue: Queue, command: Command) -> None:
        self.queue, self.command = queue, command
        self._names = settings_for(StillSettings, command)
        form = self.form = SettingsForm(command, asked_elsewhere=("prompt", "seed", "source_prompt", "source_image"))
        poses = pose_names()
        several = command in ("synthesize", "edit")
        self.picture = (
            None
            if command == "synthesize"
            else gr.File(label="Picture" if command == "edit" else "Picture as source (or describe one)", height=140)
        )
        self.source_prompt = gr.Textbox(
            _SOURCE if command != "edit" else "",
            label="What the source shows",
            info="the character as it is" if command != "edit" else "may be left empty",
        )
        self.prompts = gr.Textbox(
            f"{_TARGET}\n{_OTHER_TARGET}" if command == "synthesize" else _TARGET,
            lines=3 if several else 1,
            label="What the pictures show" if several else "What the picture shows",
            info="a line for each picture" if several else "",
        )
        with gr.Row():
            self.source_pose = (
                None
                if "source_guidance" not in self._names
                else gr.Dropdown(poses, value="standing", label="Pose of the source", info="")
            )
            self.poses = gr.Dropdown(
                poses,
                value=["waving", "sitting"] if command == "synthesize" else ["waving"],
                multiselect=True,
                max_choices=None if several else 1,
                label="Poses of the pictures" if several else "Pose of the picture",
                info="one for all, or one for each" if several else "",
            )
        if command == "sweep":
            with gr.Row():
                form.place("rows", "columns")
        self.seeds = None
        if "seeds" in self._names:
            self.seeds = gr.Textbox("", label="Seeds", info="numbers separated by commas; a row of pictures for each")
        with gr.Row():
            self.preset = gr.Dropdown(preset_names(), value="demo", label="Preset")
            form.place("num_inference_steps")
        with gr.Accordion("Guidance pictures instead of poses", open=False):
            self.kind = gr.Dropdown(["canny", "pose"], value="canny", label="What they show: edges, or poses")
            self.pictures = gr.File(
                file_count="multiple", label="One for all pictures, or one for each, in this order", height=140
            )
        form.place_rest()
        self.wrong = gr.HTML("")
        self.make = gr.Button(_TABS[command][1], variant="primary", elem_id=f"{command}-make")
        if command == "sweep":
            form.components["rows"].value = "masa_step=0,2,6,20"
            form.components["columns"].value = "masa_layer=0,8,10,13"

    def wire(self, view: JobView) -> None:
        """Have the button add a job, which the view shows."""
        self.form.wire(self.preset)
        asked = [self.picture, self.source_prompt, self.prompts, self.source_pose, self.poses, self.seeds]
        asked += [self.kind, self.pictures]
        self._asked = [component is not None for component in asked]
        inputs = [self.preset, *(component for component in asked if component is not None), *self.form.inputs]
        view.fill(self.make, self._added, inputs, self.wrong)

    def _added(self, preset: str, *values: Any) -> tuple[Any, str]:
        """The name of a new job, or what is wrong with it."""
        given = iter(values)
        asked: list[Any] = [next(given) if is_there else None for is_there in self._asked]
        picture, source_prompt, prompts, source_pose, poses, seeds, kind, pictures = asked
        try:
            changes, files = self.form.changes(preset, list(given))
            if picture:
                files["source_image"] = Path(picture)
            elif self.command == "edit":
                raise UserError("There is no picture yet: drop one above.")
            changes |= _said(
                source_prompt=source_prompt.strip(),
                prompts=[line.strip() for line in prompts.splitlines() if line.strip()],
                seeds=[int(seed) for seed in _numbers(seeds)],
                source_guidance={"pose": source_pose} if source_pose and not picture else None,
                target_guidance={"pose": list(poses)} if poses and not pictures else None,
            )
            if pictures:
                files["target_guidance"] = {kind: [Path(one) for one in pictures]}
                if changes.get("source_guidance") and kind != "pose":
                    del changes["source_guidance"]  # poses beside edges would be another control
            job = self.queue.add(self.command, preset, changes, files=files)
        except UserError as error:
            return gr.skip(), problem(str(error))
        return job.name, ""


def _said(**asked: Any) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value}


def _numbers(text: str | None) -> list[str]:
    """Raises UserError for what is no number."""
    words = (text or "").replace(",", " ").split()
    if wrong := [word for word in words if not word.isdecimal()]:
        raise UserError(f"seeds: got {wrong[0]!r}; write whole numbers, separated by commas")
    return words
