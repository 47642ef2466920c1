"""The files that settings name, looked at before anything slow begins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from masactrl_video.errors import UserError
from masactrl_video.guidance.named_poses import named_pose
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings
from masactrl_video.video.local_file import local_path


def check_inputs(settings: Settings, *written: Path) -> None:
    """See that every file is there, and that none of them is or lies in what will be `written` (files or folders).

    Raises:
        UserError: an input that does not exist, or would be replaced.
    """
    places = [place.resolve() for place in written]
    for name, path in _inputs(settings):
        try:
            found = local_path(path).resolve()
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if any(place == found or place in found.parents for place in places):
            raise UserError(f"{name}: {path} is read, and would be overwritten; give another output")


def _inputs(settings: Settings) -> Iterator[tuple[str, Path]]:
    if isinstance(settings, StillSettings):
        yield from _still_inputs(settings)
    else:
        yield "clip", settings.clip
    for name in ("source_image", "source_mask", "target_masks", "pose_json", "retarget"):
        if getattr(settings, name) is not None:
            yield name, getattr(settings, name)
    for kind, path in settings.guidance_video.items():
        yield f"guidance_video {kind}", path


def _still_inputs(settings: StillSettings) -> Iterator[tuple[str, Path]]:
    given = [("source_guidance", kind, path) for kind, path in settings.source_guidance.items()]
    given += [("target_guidance", kind, path) for kind, paths in settings.target_guidance.items() for path in paths]
    for name, kind, path in given:
        if kind == "pose" and not path.suffix:
            named_pose(str(path), f"{name} pose")
        else:
            yield f"{name} {kind}", path
