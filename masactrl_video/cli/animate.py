"""`masactrl-video animate`: `render` with a pose sequence in the place of the clip."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from masactrl_video.cli import render
from masactrl_video.cli.options import add_settings, settings_from
from masactrl_video.errors import UserError
from masactrl_video.settings.fields import settings_where
from masactrl_video.settings.home import homes_in
from masactrl_video.settings.inactive import POSES_GIVEN
from masactrl_video.settings.presets import DEFAULT_PRESET, read_config, read_preset
from masactrl_video.settings.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    add_settings(
        parser,
        "animate",
        clip=(
            "POSES",
            "pose JSON (a list, or a folder with a file a frame), a video or folder of skeleton pictures, or, with "
            "--pose-detector, a video or folder of images of people",
        ),
    )
    render.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    base = read_config(arguments.config) if arguments.config else read_preset(arguments.preset or DEFAULT_PRESET)
    poses = homes_in(arguments.clip or base.get("clip"))  # it is looked at before the settings are checked
    if poses is None:
        raise UserError("POSES: missing; name pose JSON, a video or a folder")
    from masactrl_video.jobs.animate import PoseInput, pose_input

    kind = pose_input(Path(poses), detected=arguments.pose_detector is not None)
    arguments.guidance = _guidance(arguments, base)
    for name in settings_where(Settings, lambda about: POSES_GIVEN in about.inactive):
        if kind is PoseInput.JSON and getattr(arguments, name) is not None and not _retargets_to_picture(arguments):
            raise UserError(f"{name}: it would have no effect, because {poses} gives the poses; leave it out")
    if kind is PoseInput.SKELETONS:
        ready = arguments.guidance_video or base.get("guidance_video") or {}
        arguments.guidance_video = {"pose": poses, **ready}
    settings = settings_from(arguments)
    if not settings.kinds:
        raise UserError(
            "animate: guidance is off, so that the poses would change nothing; name a network for them (--controlnet "
            "pose=FOLDER), or render a clip"
        )
    if settings.source == "clip" and kind is not PoseInput.PEOPLE:
        raise UserError(f"source clip: {poses} shows skeletons, not a character; give --source-image, or leave it out")
    return render.run(arguments, settings)


def _guidance(arguments: argparse.Namespace, base: dict[str, Any]) -> list[str] | None:
    """What was asked for, by flags or by a configuration file; a preset's own guidance gives way to the pose."""
    named = arguments.controlnet or arguments.t2i_adapter or arguments.reference_picture
    if arguments.guidance is not None or named or arguments.config:
        asked: list[str] | None = arguments.guidance
        return asked
    if "pose" not in base.get("controls", {}):
        raise UserError(
            f"animate: preset {arguments.preset} has no network that reads poses; name one (--controlnet pose=FOLDER), "
            "or take a preset that has one, such as sd15-controlnet"
        )
    return ["pose"]


def _retargets_to_picture(arguments: argparse.Namespace) -> bool:
    return arguments.retarget is not None and not arguments.retarget.lower().endswith(".json")
