"""A drawn clip, whose right frames are known, and ways to render it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from turns import by_turns, ratio

from masactrl_video.demo.world.caption import caption
from masactrl_video.demo.world.frame import Frame, GroupFrame
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.render.executor import LocalExecutor
from masactrl_video.render.frames import FramesJob, denoise_chunk
from masactrl_video.render.plan import RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.video.png import read_png

SIZE_PX = 128
Picture = NDArray[np.uint8]
Pictures = list[Picture]


class DrawnClip:
    """One clip, guided by its exact poses, and the model that renders it."""

    def __init__(
        self,
        exact: Sequence[Frame] | Sequence[GroupFrame],
        folder: Path,
        steps: int,
        model: DiffusionModel | None,
        preset: str = "demo",
    ) -> None:
        self.exact, self.folder = exact, folder
        (folder / "clip").mkdir(parents=True)
        for number, frame in enumerate(exact):
            Image.fromarray(frame.image).save(folder / "clip" / f"{number:04d}.png")
        height, width = exact[0].image.shape[:2]
        write_poses(folder / "poses.json", [Pose(_people(frame), width, height) for frame in exact])
        self.base = {
            **read_preset(preset),
            "clip": folder / "clip",
            "pose_json": folder / "poses.json",
            "cache_dir": folder / "cache",
            "characters_dir": folder / "characters",
            "guidance": ["pose"],
            "prompt": _caption(exact[0]),
            "num_inference_steps": steps,
            "masa_step": max(1, steps // 10),
            "width": width,
            "height": height,
            "side_by_side": False,
        }
        self.model = model or model_from_settings(resolve(self.base, {}))
        self.jobs: dict[str, FramesJob] = {}
        """What was open for each way."""

    def render(self, name: str, **changes: Any) -> Pictures:
        """The frames of one way."""

        def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> LocalExecutor:
            self.jobs[name] = job
            return LocalExecutor(plan, job, progress)

        outputs = Outputs(self.folder / f"{name}.mp4")
        settings = resolve(self.base, changes)
        render_clip(settings, outputs.video, overwrite=True, model=self.model, executor=start)
        return [read_png(path) for path in outputs.frames(len(self.exact))]

    def cost(self, way: str, against: str, frames: int = 2, rounds: int = 2) -> float:
        """CPU time of denoising some frames in one way ÷ in another, by turns; both were rendered."""
        ways = {name: partial(_denoise, self.jobs[name], frames) for name in (way, against)}
        return ratio(by_turns(ways, rounds), way, against)["cpu"]


def _denoise(job: FramesJob, frames: int) -> None:
    with job.controlled() as control:
        denoise_chunk(job, control, [range(frames)])


def _people(frame: Frame | GroupFrame) -> tuple[Person, ...]:
    bodies = frame.keypoints if isinstance(frame, GroupFrame) else (frame.keypoints,)
    return tuple(Person(np.insert(body, 2, 1, axis=1).astype(np.float32)) for body in bodies)


def _caption(frame: Frame | GroupFrame) -> str:
    return caption(frame.identities[0], "walking") if isinstance(frame, GroupFrame) else frame.caption


def write_sheet(rows: Mapping[str, Sequence[Picture]], path: Path, most: int = 8) -> None:
    """A row of frames, evenly spread, for each way."""
    lines = []
    for pictures in rows.values():
        some = np.linspace(0, len(pictures) - 1, min(most, len(pictures))).round().astype(int)
        lines.append(np.concatenate([pictures[number] for number in some], axis=1))
    Image.fromarray(np.concatenate(lines)).save(path)
