"""The skeletons of sources and frames, where the sources' keys go with the limbs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from masactrl_video.controls.clip import fit_like_frames
from masactrl_video.controls.extract import GuidanceBeside, frame_ranges
from masactrl_video.controls.plan import OWN_DETECTOR
from masactrl_video.controls.pose_plan import detector_named
from masactrl_video.controls.single_pose import pose_on
from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import POSE_SUFFIXES, read_poses
from masactrl_video.poses.tracking import track_people
from masactrl_video.poses.warp import Skeleton, Skeletons, told_apart
from masactrl_video.settings.cast import cast_members
from masactrl_video.settings.names import OWN_MODELS
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.index import PictureRecipe
from masactrl_video.sources.characters.pictures import kept_pose
from masactrl_video.sources.characters.store import Character
from masactrl_video.sources.saved import open_saved
from masactrl_video.video.image_folder import read_image

logger = logging.getLogger(__name__)

_SETTING = "source_positions pose"
_STAY = "give source_positions shifted or free"


def clip_skeletons(
    settings: Settings,
    sources: Sequence[Settings],
    kinds: Mapping[str, GuidanceBeside],
    size_px: tuple[int, int],
) -> Skeletons | None:
    """Those of a clip and its sources; None where keys do not go with the limbs. Waits for all poses of the clip.

    Args:
        sources: settings of each source alone; with a cast, of each person's in the order of their numbers.
        kinds: kind → guidance of the clip, in the making.
        size_px: height and width of the frames.

    Raises:
        UserError: a source whose pose is not known, or that shows nobody.
    """
    if settings.source_positions != "pose":
        return None
    people = [person for person, _ in cast_members(settings)]
    outside = {n: _outside_pose(own, size_px) for n, own in enumerate(sources) if _is_outside(own)}
    path = kinds["pose"].whole().pose_path
    if path is None:
        raise UserError(
            f"{_SETTING}: guidance pose is given as pictures, which tell no poses; give pose_json, or {_STAY}"
        )
    if people:  # the settings say who follows which of them
        frames = [Skeleton.of(pose) for pose in track_people(read_poses(path))]
        others = [Skeleton.of_one(pose, person) for pose, person in zip(outside.values(), people, strict=True)]
    else:
        frames, others = told_apart(read_poses(path), list(outside.values()))
    of_outside = dict(zip(outside, others, strict=True))
    found = tuple(of_outside.get(n) or frames[own.source_frame] for n, own in enumerate(sources))
    for own, skeleton in zip(sources, found, strict=True):
        _check_shows_somebody(own, skeleton)
    skeletons = Skeletons(found, tuple(frames))
    if missing := skeletons.unfollowed():
        logger.warning(
            "%s: %s: somebody of the source is not there, so that their keys stay where they are in the source",
            _SETTING,
            frame_ranges(missing),
        )
    return skeletons


def pair_of_skeletons(
    settings: Settings, source: str | None, target: str | None, size_px: tuple[int, int]
) -> Skeletons | None:
    """Those of a still picture and its source; None where keys do not go with the limbs.

    Args:
        source, target: pose of each, by its name or JSON; a source without one has another that is known.

    Raises:
        UserError: a pose that is not known, or shows nobody.
    """
    if settings.source_positions != "pose":
        return None
    if target is None:
        raise UserError(f"{_SETTING}: the target has no pose; give --guidance-image pose=NAME, or {_STAY}")
    first = _outside_pose(settings, size_px) if source is None else _pose(source, size_px, "source_guidance pose")
    (frame,), (own,) = told_apart([_pose(target, size_px, "target_guidance pose")], [first])
    _check_shows_somebody(settings, own)
    return Skeletons((own,), (frame,))


def _is_outside(settings: Settings) -> bool:
    """Whether a source is no frame of the clip."""
    return settings.character is not None or settings.source_image is not None


def _outside_pose(settings: Settings, size_px: tuple[int, int]) -> Pose:
    """The pose of a character or a given picture, on its own canvas."""
    if settings.character is not None:
        return _pose_of_character(settings, open_saved(settings), size_px)
    picture = settings.source_image
    if picture is None:
        raise _unknown("the source, which is generated without guidance pose")
    if settings.source_pose is not None and Path(settings.source_pose).suffix.lower() not in POSE_SUFFIXES:
        return _pose(settings.source_pose, size_px, "source_pose")
    pixels = read_image(picture)
    height_px, width_px = pixels.shape[:2]
    if settings.source_pose is not None:
        poses = read_poses(Path(settings.source_pose), size_px=(width_px, height_px))
        if len(poses) != 1:
            raise UserError(f"source_pose: {settings.source_pose} holds {len(poses)} poses; one is wanted")
        pose = poses[0].scaled(width_px=width_px, height_px=height_px)
    else:
        name = settings.pose_detector or (OWN_DETECTOR if settings.model in OWN_MODELS else None)
        if name is None:
            raise _unknown(str(picture), ", or --pose-detector")
        pose = detector_named(name, settings.pose_threshold)(pixels)
    fit = fit_like_frames(settings, width_px, height_px, size_px)
    return pose.transform(fit.apply_points, width_px=fit.width_px, height_px=fit.height_px)


def _pose_of_character(settings: Settings, character: Character, size_px: tuple[int, int]) -> Pose:
    recipe = character.index.recipe
    is_picture = isinstance(recipe, PictureRecipe)  # fitted to the frames
    if settings.source_pose is not None:
        return _pose(settings.source_pose, size_px if is_picture else (recipe.height, recipe.width), "source_pose")
    pose = kept_pose(character)
    if pose is None:
        raise _unknown(f"character {settings.character!r}")
    if not is_picture:
        return pose
    fit = fit_like_frames(settings, pose.width_px, pose.height_px, size_px)
    return pose.transform(fit.apply_points, width_px=fit.width_px, height_px=fit.height_px)


def _pose(spec: str, size_px: tuple[int, int], where: str) -> Pose:
    found = pose_on(spec, size_px, Path(), where)
    if isinstance(found, Path):
        raise UserError(
            f"{_SETTING}: {where} is a picture, which tells no pose; give a pose's name or JSON, or {_STAY}"
        )
    return found


def _unknown(what: str, or_so: str = "") -> UserError:
    return UserError(
        f"{_SETTING}: the pose of {what} is not known; give --source-pose a pose's name or JSON{or_so}, or {_STAY}"
    )


def _check_shows_somebody(settings: Settings, skeleton: Skeleton) -> None:
    if any(skeleton.shows(person) for person in range(len(skeleton.people))):
        return
    if _is_outside(settings):
        raise UserError(f"{_SETTING}: the source's pose shows nobody's limbs; give --source-pose another, or {_STAY}")
    raise UserError(
        f"{_SETTING}: frame {settings.source_frame}, whose pose is the source's, shows nobody's limbs; "
        f"give another source_frame, or {_STAY}"
    )
