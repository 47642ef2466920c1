"""Figures of a sprite sheet of the cartoon world: feet, silhouettes, halo, palette and seams.

python benchmarks/sprites.py SHEET.png

The sheet is one that `masactrl-video sprites` has made with the demo model; its folder beside it is read too. Who is in
it is read off the first frame, and drawn exactly in every pose. What is cut out is compared with three truths:

- `exact pictures`: the exact pictures go the same way, so the truth is known to the last pixel;
- `as drawn`: the model's pictures, and the figure as the model drew it. The exact figure is moved, 2 px at most, to
  where the frame has its edges; its alpha says how much of each pixel is ground, and black or white takes the ground's
  place. `as drawn, itself` is how far this truth is from the known one where the frames are exact pictures;
- `as it should be`: the model's pictures, and the exact figure. All that the model draws otherwise counts too:
  `uncut_levels` is how far the frames are from exact ones on the same rim, over their own ground, before any cutting.

`autoencoder` is the bound that the model sets: exact pictures, encoded and decoded by it and nothing else, go the same
way and are compared with the exact figure. It is what would be left if the model drew without a mistake.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from sprite_feet import feet, standing_on

from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.demo.world.draw import Canvas
from masactrl_video.demo.world.figure import draw_body, figure_of
from masactrl_video.demo.world.frame import draw_frame
from masactrl_video.demo.world.identity import FULL_WORLD, Identity
from masactrl_video.demo.world.poses import GivenPose, pose_from
from masactrl_video.demo.world.read import read_identity
from masactrl_video.poses.cycles import HEIGHT
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import read_poses
from masactrl_video.sprites.alpha import Rgba, cut_out, mattes_of
from masactrl_video.sprites.body import Body
from masactrl_video.sprites.cells import soles_px, to_cell, window_of
from masactrl_video.sprites.ground import enlargement, ground_of
from masactrl_video.sprites.movements import SOLE_SHARE
from masactrl_video.sprites.shape import in_agreement
from masactrl_video.video.png import read_png, read_rgba_png

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]
Truth = tuple[NDArray, NDArray, Floats]
"""A figure over black and over white, and its alpha."""
Figures = dict[str, float]
ASIDE = 2


def world_pose(pose: Pose) -> GivenPose:
    """A pose as the world draws it."""
    points = pose.people[0].body[:, :2].astype(np.float64) / pose.height_px
    found = pose_from(points, within=1.0)
    assert found is not None
    return GivenPose(found.points, HEIGHT)


def exact(identity: Identity, pose: GivenPose, side_px: int) -> Truth:
    """A figure over black and over white, and its alpha."""
    pictures = []
    for colour in (0, 255):
        canvas = Canvas(side_px, side_px)
        canvas.gradient((colour,) * 3, (colour,) * 3, 0, 1)
        draw_body(canvas, figure_of(identity, pose.keypoints(), pose.height))
        pictures.append(canvas.picture())
    covered = 1 - (pictures[1].astype(np.float64) - pictures[0]).mean(axis=2) / 255
    return pictures[0], pictures[1], covered


def smaller(figure: Rgba, side_px: int) -> tuple[Floats, Floats]:
    """Colours times alpha, 0 to 255, and alpha, at the size of the picture."""
    alpha = figure[..., 3:].astype(np.float32) / 255
    whole = np.concatenate([figure[..., :3] * alpha, alpha], axis=2)
    small = cv2.resize(whole, (side_px, side_px), interpolation=cv2.INTER_AREA).astype(np.float64)
    return small[..., :3], small[..., 3]


def rim(alpha: Floats, width_px: int = 2) -> NDArray[np.bool_]:
    """So many px on either side of a silhouette's edge."""
    mask = (alpha >= 0.5).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    band = cv2.dilate(mask, kernel, iterations=width_px) - cv2.erode(mask, kernel, iterations=width_px)
    return np.asarray(band, bool)


MOST_PX = 2.0
FINE = 4


def behind(frame: Picture, covered: Floats, beyond_px: int) -> Floats:
    """The ground behind a figure: of the nearest pixel so far outside of it, so it has the shadow in it too."""
    kept = cv2.dilate((covered > 0.02).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=beyond_px)
    _, labels = cv2.distanceTransformWithLabels(kept, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros((labels.max() + 1, 3))
    of_label[labels[kept == 0]] = frame[kept == 0]
    return of_label[labels]


def as_drawn(frame: Picture, black: Picture, covered: Floats) -> Truth:
    """The figure over black and over white, and its alpha, where and as the frame has it.

    Optical flow finds where the edges of the exact figure are in the frame; nothing of it knows what was cut out.
    """
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(0), flow.setPatchSize(8), flow.setPatchStride(3)
    expected = black + (1 - covered[..., None]) * behind(frame, covered, 2)

    def fine(picture: Floats) -> Picture:
        grey = cv2.cvtColor(picture.clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        return cv2.resize(grey, None, fx=FINE, fy=FINE, interpolation=cv2.INTER_CUBIC)

    moves = flow.calc(fine(frame.astype(float)), fine(expected), None) / FINE
    moves = cv2.GaussianBlur(cv2.resize(moves, covered.shape, interpolation=cv2.INTER_AREA), (0, 0), 2)
    moves *= np.minimum(1, MOST_PX / np.maximum(np.linalg.norm(moves, axis=2, keepdims=True), 1e-6))
    down, across = np.mgrid[: len(frame), : len(frame)].astype(np.float32)
    moved = cv2.remap(covered.astype(np.float32), across + moves[..., 0], down + moves[..., 1], cv2.INTER_LINEAR)
    ground = (1 - moved[..., None]) * behind(frame, moved, 1)
    over_black = frame - ground
    over_white = over_black + 255 * (1 - moved[..., None])
    return over_black.clip(0, 255), over_white.clip(0, 255), moved


def errors(colours: Floats, alpha: Floats, truth: Truth) -> tuple[float, float, float]:
    """IoU with a silhouette, and the mean error over its rim, over black and over white."""
    black, white, true = truth
    ours, theirs, edge = alpha >= 0.5, true >= 0.5, rim(true)
    over_white = colours + 255 * (1 - alpha[..., None])
    return (
        (ours & theirs).sum() / (ours | theirs).sum(),
        np.abs(colours - black)[edge].mean(),
        np.abs(over_white - white)[edge].mean(),
    )


@torch.no_grad()
def through_autoencoder(pictures: Sequence[Picture]) -> list[Picture]:
    """Pictures as the demo model's autoencoder gives them back."""
    autoencoder = AutoencoderKL.from_pretrained(WEIGHTS / "vae").eval()
    found = []
    for picture in pictures:
        values = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        decoded = autoencoder.decode(autoencoder.encode(values).latent_dist.mean).sample[0]
        found.append(((decoded.clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).byte().numpy())
    return found


def uncut(frames: Sequence[Picture], drawn: Sequence[Picture], known: Sequence[Truth]) -> Figures:
    """How far pictures are from exact ones on the rim of the figure, over their own ground, before any cutting."""
    off = [
        np.abs(frame.astype(float) - right)[rim(covered)].mean()
        for frame, right, (*_, covered) in zip(frames, drawn, known, strict=False)
    ]
    return {"uncut_levels": float(np.mean(off))}


def cut_from(frames: Sequence[Picture], poses: Sequence[Pose]) -> list[Rgba]:
    """The figures of all frames but the last ones, which show the ground: one side is seen, as with one facing."""
    bodies = bodies_of(poses, len(frames[0]))
    ground, shown = ground_of(frames, bodies, ASIDE), frames[:-ASIDE]
    bodies = bodies[:-ASIDE]
    agreed = in_agreement(shown, bodies, mattes_of(shown, bodies, ground), [range(len(shown))])
    return [cut_out(frame, matte) for frame, matte in zip(shown, agreed, strict=True)]


def bodies_of(poses: Sequence[Pose], side_px: int) -> list[Body]:
    """Bodies in pictures of that side, at the size at which they are looked at."""
    return [Body.of(pose, side_px * enlargement(side_px)) for pose in poses]


def against(figures: Sequence[Rgba], side_px: int, truths: dict[str, list[Truth]]) -> dict[str, Figures]:
    """What was cut out of pictures of that side against several truths."""
    cut = [smaller(figure, side_px) for figure in figures]
    return {
        name: mean_errors([errors(*figure, truth) for figure, truth in zip(cut, known, strict=True)])
        for name, known in truths.items()
    }


def cells_of(cut: Sequence[Rgba], poses: Sequence[Pose], side_px: int, cell_px: int) -> list[Picture]:
    """What was cut out of pictures of that side as cells, the way that sheets are made."""
    lowest = [body.lowest_px for body in bodies_of(poses[: len(cut)], side_px)]
    soles = soles_px(cut, lowest, SOLE_SHARE * len(cut[0]))
    window = window_of(cut, soles, cell_px, cell_px * enlargement(side_px))
    return [to_cell(figure, sole, window, hard=False) for figure, sole in zip(cut, soles, strict=True)]


def mean_errors(rows: Sequence[tuple[float, float, float]]) -> Figures:
    """Of all cells."""
    iou, over_black, on_white = np.array(rows).T
    return {
        "iou_mean": iou.mean(),
        "iou_least": iou.min(),
        "rim_black_levels": over_black.mean(),
        "rim_white_levels": on_white.mean(),
    }


def soles(cells: Sequence[Picture], line_px: float) -> Figures:
    """How far the lowest row that is as wide as 2 px is from the line, by alpha alone."""
    lowest = [np.flatnonzero((cell[..., 3] >= 128).sum(axis=1) >= len(cell) // 64)[-1] + 1 for cell in cells]
    off = np.abs(np.array(lowest) - line_px)
    return {"off_px_mean": float(off.mean()), "off_px_most": float(off.max()), "within_1_px": int((off <= 1).sum())}


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
    standing = [
        standing_on(identity, world_pose(pose), report["anchor_px"][1], share, cell_px) for pose in poses[: len(cells)]
    ]
    known = [exact(identity, world_pose(pose), side) for pose in poses[: len(cells)]]
    shown, itself = (
        [as_drawn(frame, black, covered) for frame, (black, _, covered) in zip(pictures, known, strict=False)]
        for pictures in (frames, drawn)
    )
    decoded = through_autoencoder(drawn)
    cut = cut_from(decoded, poses)
    return {
        **against(cut_from(frames, poses), side, {"as drawn": shown, "as it should be": known}),
        "as drawn, itself": mean_errors(
            [errors(black, alpha, truth) for (black, _, alpha), truth in zip(itself, known, strict=True)]
        ),
        "before cutting": uncut(frames, drawn, known),
        **against(cut_from(drawn, poses), side, {"exact pictures": known}),
        **against(cut, side, {"autoencoder": known}),
        "autoencoder, before cutting": uncut(decoded, drawn, known),
        "feet": feet(cells, standing).figures(),
        "feet, autoencoder": feet(cells_of(cut, poses, side, cell_px), standing).figures(),
        "soles": soles(cells, report["anchor_px"][1]),
        "palette": {"colours": report["colours"]},
        "seams": seams(sheet, names),
    }


if __name__ == "__main__":
    for what, figures in main(Path(sys.argv[1])).items():
        print(what, {name: round(float(value), 3) for name, value in figures.items()})
