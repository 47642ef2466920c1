"""From settings to what is done to the poses of a clip, with the reference that they are retargeted to."""

from __future__ import annotations

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masactrl_video.controls.clip import fit_like_frames, pose_canvas
from masactrl_video.errors import UserError
from masactrl_video.model.loading.location import local_path
from masactrl_video.poses.detectors.base import PoseDetector, open_pose_detector
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import POSE_SUFFIXES, read_poses
from masactrl_video.poses.proportions import measure
from masactrl_video.poses.repair import PoseTreatment
from masactrl_video.poses.tracking import choose_person, track_people
from masactrl_video.settings.guidance_parts import GuidanceSettings
from masactrl_video.settings.names import ships
from masactrl_video.settings.settings import Settings
from masactrl_video.video.image_folder import read_image

logger = logging.getLogger(__name__)


def plan_treatment(settings: Settings, size_px: tuple[int, int]) -> tuple[PoseTreatment, Any]:
    """The treatment of poses on a canvas of size_px (height, width), and what it depends on, for a key.

    Raises:
        UserError: a reference that cannot be read or shows nobody.
    """
    reference = None if settings.retarget is None else _reference_lengths(settings, settings.retarget, size_px)
    treatment = PoseTreatment(
        min_confidence=settings.pose_confidence,
        person=settings.person,
        fill_missing=settings.fill_missing_poses,
        longest_gap_frames=settings.fill_pose_gaps,
        smooth_window_frames=settings.smooth_poses,
        target_lengths_px=reference,
        keep_foreshortening=settings.retarget_foreshortening,
    )
    depends_on = [getattr(treatment, field.name) for field in fields(treatment) if field.name != "target_lengths_px"]
    return treatment, [*depends_on, None if reference is None else reference.round(6).tolist()]


def reference_pose(settings: GuidanceSettings, path: Path) -> Pose:
    """The largest person of a pose JSON's first frame, or of a picture, alone on its canvas.

    Raises:
        UserError: it cannot be read, shows nobody, or is a picture without a detector.
    """
    if path.suffix.lower() in POSE_SUFFIXES:
        pose = read_poses(path, size_px=pose_canvas(settings))[0]
    elif settings.pose_detector is None:
        raise UserError(f"retarget: {path} is no .json; to find the pose in a picture, give --pose-detector")
    else:
        pose = detector_named(settings.pose_detector, settings.pose_threshold)(read_image(path))
    if not pose.has_person:
        raise UserError(f"retarget: {path} shows nobody; give a pose of the whole body")
    return choose_person(track_people([pose]), "largest")[0]


def _reference_lengths(settings: Settings, path: Path, size_px: tuple[int, int]) -> NDArray[np.float64]:
    """Bone lengths of the reference, fitted to the frames' size as its picture would be."""
    pose = reference_pose(settings, path)
    fit = fit_like_frames(settings, pose.width_px, pose.height_px, size_px)
    logger.info("%s: %s", path, fit.describe())
    fitted = pose.transform(fit.apply_points, width_px=fit.width_px, height_px=fit.height_px)
    return measure(fitted.people[0])


def detector_named(name: str, threshold: float | None) -> PoseDetector:
    """A detector by name; those that begin with `demo/` ship with the package, for others see `open_pose_detector`.

    Args:
        name: of the setting `pose_detector`.
        threshold: the setting `pose_threshold`.

    Raises:
        UserError: its weights cannot be had, or its threshold is fixed.
    """
    path = str(local_path(name, "pose_detector")) if ships(name) else name
    return open_pose_detector(path, threshold)
