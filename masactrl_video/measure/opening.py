"""What is measured and what it is compared with, opened and looked at before anything slow begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from masactrl_video.errors import UserError, counted
from masactrl_video.measure.fidelity import SMALLEST_PX as SMALLEST_OF_SSIM_PX
from masactrl_video.measure.flow import SMALLEST_PX
from masactrl_video.measure.matching import match_frames
from masactrl_video.measure.moments import Picture
from masactrl_video.measure.opened import Given, Opened, fit_like
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_clip import read_sequence
from masactrl_video.video.clip import Clip, open_clip
from masactrl_video.video.frame import ClipInfo, Selection, Timing
from masactrl_video.video.image_folder import read_image, read_picture
from masactrl_video.video.picture_file import picture_suffixes


class StillPictures:
    """Pictures of any sizes as a clip without times (see `video.clip.FrameSource`)."""

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        """Look at the first one. Raises UserError where it cannot be read."""
        height_px, width_px = read_image(files[0]).shape[:2]
        self._files = files
        self.timings = tuple(Timing(n, float(n), 1.0) for n in range(len(files)))
        self.info = ClipInfo(path, "images", width_px, height_px, 0, len(files), 1.0, float(len(files)), False)

    def read(self, positions: range) -> Iterator[Picture]:
        """RGB (height, width, 3), one at a time. Raises UserError where one cannot be read."""
        return (read_image(self._files[position]) for position in positions)


def open_given(given: Given, *, needs_time: bool = True, shortest: bool = False) -> Opened:
    """Open a clip and all it is compared with.

    Args:
        needs_time: refuse a video of one frame.
        shortest: see `match_frames`.

    Raises:
        UserError: something cannot be read, or does not fit the rest.
    """
    clip, is_moving = _open_result(given)
    if is_moving and needs_time and len(clip) < 2:
        raise UserError(
            f"{given.result} has one frame, and most figures are of frames that follow each other: give a longer clip, "
            "or the frame as a picture"
        )
    if given.result_poses is not None and given.poses is None and not given.wanted:
        raise UserError(f"result_poses: {given.result_poses} has no poses to be compared with; give them with --poses")
    if shortest and given.original is None:
        raise UserError("--shortest: it would have no effect without --input; leave it out")
    original, picture, match = None, None, None
    remarks = [f"{given.result}: {remark}" for remark in clip.info.remarks]
    if is_moving and clip.info.kind == "images":
        rate = clip.info.average_frame_rate
        remarks.append(f"{given.result}: images have no times of their own; {rate:g} frames a second are taken")
    if given.original is not None and is_picture(given.original):
        picture = read_image(given.original)
        remarks += _said_of_size(given, picture.shape[1], picture.shape[0], clip.info)
    elif given.original is not None:
        if not is_moving:
            raise UserError(f"{given.original}: still pictures are compared with a picture; give one as --input")
        original = open_clip(given.original, given.selection)
        match = match_frames((given.result, clip.timeline()), (given.original, original.timeline()), shortest=shortest)
        remarks += [f"{given.original}: {remark}" for remark in original.info.remarks] + [match.said]
        remarks += _said_of_size(given, original.info.width_px, original.info.height_px, clip.info)
    counts = len(clip), len(original) if original is not None else None
    masks, mask, of_masks = _open_masks(given, clip.info, original.info if original is not None else None, counts)
    sizes = clip.info.width_px, clip.info.height_px
    wanted, of_wanted = _open_poses(given.poses, sizes, counts, "wanted")
    wanted = wanted or list(given.wanted) or None
    found, of_found = _open_poses(given.result_poses, sizes, counts, "found")
    _check_source(given)
    by_original = frozenset({*of_masks, *of_wanted, *of_found})
    return Opened(
        given, clip, is_moving, original, match, picture, masks, mask, wanted, found, by_original, tuple(remarks)
    )


def _open_result(given: Given) -> tuple[Clip, bool]:
    files = given.pictures or ((given.result,) if is_picture(given.result) else ())
    clip = Clip(StillPictures(given.result, files), Selection()) if files else open_clip(given.result)
    shorter = min(clip.info.width_px, clip.info.height_px)
    if shorter < max(SMALLEST_PX, SMALLEST_OF_SSIM_PX):
        raise UserError(
            f"{given.result} is {clip.info.width_px}x{clip.info.height_px}; give one of "
            f"{SMALLEST_PX} px on each side at least"
        )
    return clip, not files


def _check_source(given: Given) -> None:
    """See that the source can be read, and that its mask is as large."""
    shapes = {
        path: read_picture(path, as_numbers=True).pixels.shape[1::-1]
        for path in (given.source, given.source_mask)
        if path is not None
    }
    if given.source_mask is None:
        return
    if given.source is None:
        raise UserError(f"source_mask: {given.source_mask} is of no picture; give it with --source, or leave it out")
    mask, source = shapes[given.source_mask], shapes[given.source]
    if mask != source and not given.masks_of_cells:
        raise UserError(
            f"source_mask: {given.source_mask} is {mask[0]}x{mask[1]}, but {given.source} is {source[0]}x{source[1]}; "
            "give a mask of that size"
        )


def is_picture(path: Path) -> bool:
    """Whether a path is that of a picture file by its name."""
    return path.suffix.lower() in picture_suffixes() and not path.is_dir()


def _said_of_size(given: Given, width_px: int, height_px: int, made: ClipInfo) -> list[str]:
    if (width_px, height_px) == (made.width_px, made.height_px):
        return []
    like = np.empty((made.height_px, made.width_px, 0), np.uint8)
    return [f"{given.original}: {fit_like(given.fit, width_px, height_px, like).describe()}"]


def _open_masks(
    given: Given, made: ClipInfo, original: ClipInfo | None, counts: tuple[int, int | None]
) -> tuple[Clip | None, Picture | None, set[str]]:
    if given.masks is None:
        return None, None, set()
    clip, picture = None, None
    if is_picture(given.masks):
        picture = read_picture(given.masks, as_numbers=True).pixels
        size = (picture.shape[1], picture.shape[0])
    else:
        clip = open_clip(given.masks, as_numbers=True)
        size = (clip.info.width_px, clip.info.height_px)
    allowed = {(info.width_px, info.height_px): None for info in (made, original) if info is not None}
    if size not in allowed and not given.masks_of_cells:
        sizes = " or ".join(f"{width}x{height}" for width, height in allowed)
        raise UserError(f"masks: {given.masks} is {size[0]}x{size[1]}, the frames are {sizes}; give masks of that size")
    by_original = set() if clip is None else _counted_by("masks", given.masks, len(clip), counts)
    return clip, picture, by_original


def _open_poses(
    path: Path | None, size_px: tuple[int, int], counts: tuple[int, int | None], name: str
) -> tuple[list[Pose] | None, set[str]]:
    if path is None:
        return None, set()
    poses = read_sequence(path, size_px)
    return poses, _counted_by(name, path, len(poses), counts)


def _counted_by(name: str, path: Path, count: int, counts: tuple[int, int | None]) -> set[str]:
    made, original = counts
    if count == made:
        return set()
    if count == original:
        return {name}
    others = f" and the input {original}" if original is not None else ""
    raise UserError(
        f"{path} is for {counted(count, 'frame')}, but the result has {made}{others}; give one for each frame of either"
    )
