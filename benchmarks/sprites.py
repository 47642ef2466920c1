"""Figures of a sprite sheet of the cartoon world: feet, silhouettes, halo, palette and seams.

python benchmarks/sprites.py SHEET.png

The sheet is one that `masactrl-video sprites` has made with the demo model; its folder beside it is read too. Who is in
it is read off the first frame, and drawn exactly in every pose. `drawn` are the same figures for exact pictures that
go the same way: what cutting out alone costs, without the model's own mistakes.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.controls.pose_plan import detector_named
from masactrl_video.demo.world.draw import Canvas
from masactrl_video.demo.world.figure import draw_body, figure_of
from masactrl_video.demo.world.frame import draw_frame
from masactrl_video.demo.world.identity import FULL_WORLD, Identity
from masactrl_video.demo.world.poses import GivenPose, pose_from
from masactrl_video.demo.world.read import read_identity
from masactrl_video.poses.cycles import GROUND, HEIGHT
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import read_poses
from masactrl_video.poses.skeleton import ANKLES
from masactrl_video.sprites.alpha import Rgba, cut_out
from masactrl_video.sprites.body import Body
from masactrl_video.sprites.ground import enlargement, ground_of
from masactrl_video.video.png import read_png, read_rgba_png

Picture = NDArray[np.uint8]
ASIDE = 2


def world_pose(pose: Pose) -> GivenPose:
    """A pose as the world draws it."""
    points = pose.people[0].body[:, :2].astype(np.float64) / pose.height_px
    found = pose_from(points, within=1.0)
    assert found is not None
    return GivenPose(found.points, HEIGHT)


def exact(identity: Identity, pose: GivenPose, side_px: int) -> tuple[Picture, Picture, NDArray[np.float64]]:
    """A figure over black and over white, and its alpha."""
    pictures = []
    for colour in (0, 255):
        canvas = Canvas(side_px, side_px)
        canvas.gradient((colour,) * 3, (colour,) * 3, 0, 1)
        draw_body(canvas, figure_of(identity, pose.keypoints(), pose.height))
        pictures.append(canvas.picture())
    covered = 1 - (pictures[1].astype(np.float64) - pictures[0]).mean(axis=2) / 255
    return pictures[0], pictures[1], covered


def smaller(figure: Rgba, side_px: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colours times alpha, 0 to 255, and alpha, at the size of the picture."""
    alpha = figure[..., 3:].astype(np.float32) / 255
    whole = np.concatenate([figure[..., :3] * alpha, alpha], axis=2)
    small = cv2.resize(whole, (side_px, side_px), interpolation=cv2.INTER_AREA).astype(np.float64)
    return small[..., :3], small[..., 3]


def rim(alpha: NDArray[np.float64], width_px: int = 2) -> NDArray[np.bool_]:
    """So many px on either side of a silhouette's edge."""
    mask = (alpha >= 0.5).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    band = cv2.dilate(mask, kernel, iterations=width_px) - cv2.erode(mask, kernel, iterations=width_px)
    return np.asarray(band, bool)


def cut_figures(frames: Sequence[Picture], poses: Sequence[Pose], identity: Identity) -> dict[str, float]:
    """IoU with the exact silhouette, and the mean error over its rim, over black and over white."""
    side = len(frames[0])
    bodies = [Body.of(pose, side * enlargement(side)) for pose in poses]
    ground = ground_of(frames, bodies, ASIDE)
    rows = []
    for frame, body, pose in zip(frames[:-ASIDE], bodies, poses, strict=False):
        colours, alpha = smaller(cut_out(frame, body, ground), side)
        black, white, true = exact(identity, world_pose(pose), side)
        ours, theirs, edge = alpha >= 0.5, true >= 0.5, rim(true)
        over_white = colours + 255 * (1 - alpha[..., None])
        rows.append(
            (
                (ours & theirs).sum() / (ours | theirs).sum(),
                np.abs(colours - black)[edge].mean(),
                np.abs(over_white - white)[edge].mean(),
            )
        )
    iou, over_black, on_white = np.array(rows).T
    return {
        "iou_mean": iou.mean(),
        "iou_least": iou.min(),
        "rim_black_levels": over_black.mean(),
        "rim_white_levels": on_white.mean(),
    }


FLAT = (150, 190, 150)
SHIFTS_PX = range(-2, 2)  # the network answers on a grid of 4 px: a picture is shown to it at four places


def feet(cells: Sequence[Picture], exact_cells: Sequence[Picture]) -> dict[str, float]:
    """How far feet are from the line, as the keypoint network finds the lower ankle in each cell over a flat ground.

    The network has a bias, so what it finds in the exact figure that stands on the line is what it is compared with. Of
    all cells the same is how far below an ankle a figure ends: `ankles_above_px`; the rest is what makes it tremble.
    """
    detect = detector_named("demo/keypoints", 0.05)

    def lowest(picture: Picture) -> float:
        found = []
        for shift in SHIFTS_PX:
            pose = detect(np.roll(picture, shift, axis=0))
            body = pose.people[0].body if pose.people else np.zeros((18, 3))
            found += [max((body[ankle, 1] for ankle in ANKLES if body[ankle, 2] > 0), default=np.nan) - shift]
        return float(np.mean(found))

    off = np.array([lowest(ours) - lowest(theirs) for ours, theirs in zip(cells, exact_cells, strict=True)])
    common = float(np.nanmedian(off))
    return {
        "cells": len(cells),
        "found": int(np.isfinite(off).sum()),
        "ankles_above_px": -common,
        "feet_off_px_mean": float(np.nanmean(np.abs(off - common))),
        "feet_off_px_most": float(np.nanmax(np.abs(off - common))),
        "within_1_px": float((np.abs(off - common) <= 1).mean()),
    }


def over_flat(cell: Picture) -> Picture:
    """A cell over the flat ground."""
    alpha = cell[..., 3:] / 255
    return np.asarray(np.round(cell[..., :3] * alpha + np.array(FLAT) * (1 - alpha)), np.uint8)


def standing_on(identity: Identity, pose: Pose, ground_px: float, share: float, cell_px: int) -> Picture:
    """The exact figure in a cell, its soles on the line, over the flat ground. share: of a picture's side in it."""
    points, height = (world_pose(pose).points - (0.5, GROUND)) * share + 0.5, HEIGHT * share
    fine = Canvas(8 * cell_px, 8 * cell_px)
    draw_body(fine, figure_of(identity, points, height))
    as_wide = fine.mask().sum(axis=1) >= 8 * cell_px // 64
    sole = (np.flatnonzero(as_wide)[-1] + 1) / (8 * cell_px)
    canvas = Canvas(cell_px, cell_px)
    canvas.gradient(FLAT, FLAT, 0, 1)
    draw_body(canvas, figure_of(identity, points + np.array([0, ground_px / cell_px - sole]), height))
    return canvas.picture()


def seams(sheet: Path, names: dict[str, int]) -> dict[str, float]:
    """Difference of the last cell and the first, to the largest between neighbours, for each movement."""
    ratios = {}
    for name, count in names.items():
        cells = [
            read_rgba_png(sheet.with_suffix("") / "cells" / f"{name}-{at:02d}.png").astype(float) for at in range(count)
        ]
        steps = [np.abs(cells[at] - cells[(at + 1) % count]).mean() for at in range(count)]
        ratios[f"seam_{name}"] = float(steps[-1] / max(steps[:-1]))
    return ratios


def main(sheet: Path) -> dict[str, dict[str, float]]:
    """All figures."""
    folder = sheet.with_suffix("")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    poses = read_poses(folder / "poses.json")
    frames = [read_png(folder / "render" / "frames" / f"{number:06d}.png") for number in range(len(poses))]
    identity = read_identity(frames[0], world_pose(poses[0]), FULL_WORLD)
    side = len(frames[0])
    drawn = [draw_frame(identity, world_pose(pose), "standing", side, side).image for pose in poses]
    names = {name: about["frames"] for name, about in report["movements"].items()}
    cells = [
        read_rgba_png(folder / "cells" / f"{name}-{at:02d}.png") for name, count in names.items() for at in range(count)
    ]
    cell_px, share = len(cells[0]), report["scale"] * side / len(cells[0])
    standing = [standing_on(identity, pose, report["anchor_px"][1], share, cell_px) for pose in poses[: len(cells)]]
    return {
        "rendered": cut_figures(frames, poses, identity),
        "drawn": cut_figures(drawn, poses, identity),
        "feet": feet([over_flat(cell) for cell in cells], standing),
        "palette": {"colours": report["colours"]},
        "seams": seams(sheet, names),
    }


if __name__ == "__main__":
    for what, figures in main(Path(sys.argv[1])).items():
        print(what, {name: round(float(value), 3) for name, value in figures.items()})
