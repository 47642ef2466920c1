"""Guidance that is given ready-made: that it can be read and fits the clip is seen before any model is loaded."""

from __future__ import annotations

from pathlib import Path

from masactrl_video.controls.clip import pose_canvas
from masactrl_video.errors import UserError, counted
from masactrl_video.poses.pose_clip import is_pose_json
from masactrl_video.poses.pose_json import read_poses
from masactrl_video.settings.settings import Settings
from masactrl_video.video.clip import Clip, open_clip


def check_given(settings: Settings, clip: Clip) -> None:
    """See that poses, guidance pictures and masks that are given are as many as the clip's frames.

    Raises:
        UserError: one cannot be read, or is for another number of frames.
    """
    if settings.background == "clip" and is_pose_json(settings.clip):
        raise UserError(f"background clip: {settings.clip} holds poses, no pictures; take source, own or still")
    if settings.pose_json is not None:
        size_px = pose_canvas(settings) or (clip.info.width_px, clip.info.height_px)
        is_for_whole_clip(clip, len(read_poses(settings.pose_json, size_px=size_px)), settings.pose_json)
    if settings.retarget is not None and settings.retarget.suffix.lower() == ".json":
        read_poses(settings.retarget, size_px=pose_canvas(settings))
    videos = [settings.guidance_video[kind] for kind in settings.kinds if kind in settings.guidance_video]
    for path in (*videos, *([settings.target_masks] if settings.target_masks is not None else [])):
        is_for_whole_clip(clip, len(open_clip(path, as_numbers=True)), path)


def is_for_whole_clip(clip: Clip, count: int, path: Path) -> bool:
    """Whether the same selection must be taken of what is given, or it was made for the frames taken.

    Raises:
        UserError: neither.
    """
    taken, whole = len(clip), clip.info.num_frames
    if count not in (taken, whole):
        are = "is" if taken == 1 else "are"
        raise UserError(
            f"{path} is for {counted(count, 'frame')}; {taken} {are} taken of the clip's {whole}: give one for each"
        )
    return count != taken
