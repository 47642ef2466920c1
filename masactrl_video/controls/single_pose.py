"""A single pose as guidance: by its name, from a JSON, or as a ready-made picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masactrl_video.controls.clip import read_fitted
from masactrl_video.errors import UserError
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.named_poses import named_pose, placed_in
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import POSE_SUFFIXES, read_poses
from masactrl_video.settings.clip_parts import SizeSettings
from masactrl_video.settings.guidance_parts import GuidanceSettings
from masactrl_video.settings.names import Box
from masactrl_video.settings.presets import checked
from masactrl_video.settings.settings import Settings
from masactrl_video.video.image_folder import read_image
from masactrl_video.video.picture_file import picture_suffixes

_UNKNOWN_SIZE = (512, 512)
"""Canvas of a pose JSON that names none; its coordinates are then from 0 to 1."""


@dataclass(frozen=True, eq=False)
class PosedPart:
    """A pose and the part of the panel that it is fitted into."""

    pose: Pose
    box: Box

    def on(self, width_px: int, height_px: int) -> Pose:
        """The pose on a picture of that size."""
        left, top, right, bottom = self.box
        box_px = (round(left * width_px), round(top * height_px), round(right * width_px), round(bottom * height_px))
        return placed_in(self.pose, box_px, width_px, height_px)


def read_pose(spec: str, folder: Path, where: str) -> Pose | Path:
    """A pose by its name, from a JSON, or the path of a ready-made picture.

    Raises:
        UserError: no such pose or file, or a file that cannot be read.
    """
    suffix = Path(spec).suffix.lower()
    if suffix in POSE_SUFFIXES:
        try:
            poses = read_poses(folder / spec, size_px=_UNKNOWN_SIZE)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        if len(poses) != 1:
            raise UserError(f"{where}: {folder / spec} holds {len(poses)} poses; one is wanted")
        if not poses[0].has_person:
            raise UserError(f"{where}: nobody is in {folder / spec}")
        return poses[0]
    if suffix in picture_suffixes():
        if not (folder / spec).is_file():
            raise UserError(f"{where}: no such file: {folder / spec}")
        read_image(folder / spec)
        return folder / spec
    return named_pose(spec, where)


def pose_picture(
    settings: SizeSettings, spec: str, size_px: tuple[int, int], folder: Path, where: str
) -> NDArray[np.uint8]:
    """RGB (height, width, 3): a pose drawn, or a ready-made picture of one fitted, at (height, width) px."""
    found = pose_on(spec, size_px, folder, where)
    if isinstance(found, Path):
        return read_fitted(settings, found, size_px, as_numbers=True)
    return draw_pose(found)


def pose_on(spec: str, size_px: tuple[int, int], folder: Path, where: str) -> Pose | Path:
    """A pose on a picture of (height, width) px, or the path of a ready-made picture."""
    found = read_pose(spec, folder, where)
    return found if isinstance(found, Path) else PosedPart(found, (0.0, 0.0, 1.0, 1.0)).on(size_px[1], size_px[0])


def shape_of_pose(spec: str, folder: Path, where: str) -> tuple[int, int]:
    """Height and width of a pose's canvas, or of a ready-made picture of one."""
    found = read_pose(spec, folder, where)
    if isinstance(found, Path):
        height, width = read_image(found).shape[:2]
        return height, width
    return found.height_px, found.width_px


def pose_control(settings: GuidanceSettings, where: str) -> str:
    """Name of the control that poses go through.

    Raises:
        UserError: there is none, or the guidance in use is another.
    """
    kinds = {name: control.kind for name, control in settings.controls.items()}
    in_use = [name for name in settings.guidance if kinds[name] == "pose"]
    found = in_use or [name for name, kind in kinds.items() if kind == "pose"]
    if not found:
        raise UserError(
            f"{where}: there is no network for poses; name one under `controls`, in the story or a --config"
        )
    return found[0]


def with_guidance(settings: Settings, guidance: list[str], **changes: Any) -> Settings:
    """The settings with other guidance in use, checked again.

    Raises:
        UserError: they do not go together.
    """
    return checked(Settings, {**settings.model_dump(), "guidance": guidance, **changes})
