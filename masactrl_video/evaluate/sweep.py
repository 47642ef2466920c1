"""Figures of a sweep's pictures as CSV: the demo model's, where the exact picture can be drawn."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from masactrl_video.controls.single_pose import pose_on
from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.demo.world.caption import named_by
from masactrl_video.demo.world.frame import draw_frame
from masactrl_video.demo.world.identity import SMALL_WORLD, Identity
from masactrl_video.demo.world.poses import GivenPose, pose_from
from masactrl_video.demo.world.read import read_identity
from masactrl_video.evaluate.figures import UNNAMED, error_on_figure, keypoints_found, same
from masactrl_video.jobs.sweep import Cell
from masactrl_video.poses.detectors.base import PoseDetector
from masactrl_video.poses.detectors.network import NetworkPoseDetector
from masactrl_video.settings.stills import StillSettings
from masactrl_video.storage.replace import replacing
from masactrl_video.video.png import read_png

logger = logging.getLogger(__name__)

_WORLD = SMALL_WORLD
"""What the model that ships with the package was trained on."""
_COLUMNS = ("identity_error", "keypoints_found", *(f"{name}_kept" for name in UNNAMED))


class _UnknownError(Exception):
    """Why the exact picture of a cell cannot be drawn."""


@dataclass(frozen=True)
class _Poses:
    source: GivenPose
    target: GivenPose


def write_figures(cells: Sequence[Cell], path: Path) -> None:
    """Write a row for each cell of a sweep with the demo model; where the right answer is not known, say why.

    `identity_error` is the mean difference on the figure from the exact frame, drawn for who is seen in the source, in
    levels of 255; `keypoints_found` the part of the keypoints found again within a tenth of the height, 0 to 1; and
    `pattern_kept`, `scarf_kept`, `hat_kept` are 1 where the picture shows them as the source does, else 0.

    Args:
        cells: all of the sweep.
        path: of the CSV.
    """
    try:
        poses = [_known_poses(cell) for cell in cells]
    except _UnknownError as why:
        logger.info("no %s, because the right answer is not known: %s", path.name, why)
        return
    detector, seen = NetworkPoseDetector(WEIGHTS / "keypoints"), dict[Path, Identity]()
    rows: list[dict[str, object]] = []
    for cell, known in zip(cells, poses, strict=True):
        if cell.source_path not in seen:
            seen[cell.source_path] = read_identity(cell.source_picture, known.source, _WORLD)
        rows.append({**cell.values, **_figures(cell, known.target, seen[cell.source_path], detector)})
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*cells[0].values, *_COLUMNS])
        writer.writeheader()
        writer.writerows(rows)


def _figures(cell: Cell, pose: GivenPose, source: Identity, detector: PoseDetector) -> dict[str, object]:
    picture = cell.picture
    exact = draw_frame(source, pose, "", *picture.shape[:2])
    shown = read_identity(picture, pose, _WORLD)
    values = (
        round(error_on_figure(picture, exact), 2),
        round(keypoints_found(detector, picture, exact), 3),
        *(int(same(name, shown, source)) for name in UNNAMED),
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _known_poses(cell: Cell) -> _Poses:
    settings = cell.settings
    if settings.real_source or settings.character is not None:
        raise _UnknownError("the pose of a given picture or a kept character is not")
    _check_captions(settings)
    size_px = read_png(cell.source_path).shape[:2]
    return _Poses(
        _known_pose(settings.source_guidance.get("pose"), size_px, "source_guidance"),
        _known_pose(settings.target_guidance.get("pose", [None])[0], size_px, "target_guidance"),
    )


def _check_captions(settings: StillSettings) -> None:
    who = [named_by(prompt, _WORLD) for prompt in (settings.prompt_of_source, settings.prompt)]
    if None in who:
        raise _UnknownError(
            f"{(settings.prompt_of_source, settings.prompt)[who.index(None)]!r} is no caption of the cartoon world, "
            "such as 'a panda in a blue shirt and red pants waving in the meadow'"
        )
    if who[0] != who[1]:
        raise _UnknownError("the target's prompt names another character than the source's")


def _known_pose(given: Path | None, size_px: tuple[int, int], where: str) -> GivenPose:
    if given is None:
        raise _UnknownError(f"{where} has no pose; give one by its name or as JSON, e.g. pose=waving")
    found = pose_on(str(given), size_px, Path(), where)
    if isinstance(found, Path):
        raise _UnknownError(f"{where}: {given} is a picture; give the pose by its name or as JSON")
    people = [person for person in found.people if person.visible]
    if len(people) != 1 or not (people[0].body[:, 2] > 0).all():
        raise _UnknownError(f"{where}: {given} is not one person with all 18 keypoints")
    pose = pose_from(people[0].body[:, :2].astype(float) / size_px[0])
    if pose is None:
        raise _UnknownError(f"{where}: the body in {given} has not the cartoon world's proportions")
    return pose
