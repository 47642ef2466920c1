"""What is measured and what it is compared with, opened and looked at before anything slow begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from masactrl_video.errors import UserError, counted
from masactrl_video.measure.fidelity import SMALLEST_PX as SMALLEST_OF_SSIM_PX
from masactrl_video.measure.flow import SMALLEST_PX
from masactrl_video.measure.matching import Match, match_frames
from masactrl_video.measure.moments import Mask, Moment, Picture, enlarged
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_clip import read_sequence
from masactrl_video.settings.names import FitMode
from masactrl_video.video.clip import Clip, open_clip
from masactrl_video.video.fit import Fit, plan_fit
from masactrl_video.video.frame import ClipInfo, Selection, Timing
from masactrl_video.video.image_folder import read_image, read_picture
from masactrl_video.video.picture_file import picture_suffixes


@dataclass(frozen=True)
class Given:
    """The files of one clip that is measured."""

    result: Path
    """A video, a folder of images, or a picture."""
    label: str = ""
    """What it is called beside others; its path if empty."""
    pictures: tuple[Path, ...] = ()
    """Still pictures, of one size or not, in place of the frames of `result`."""
    original: Path | None = None
    """The clip that it was made from, or a picture."""
    selection: Selection = field(default_factory=Selection)
    """Which frames of `original` it was made from."""
    source: Path | None = None
    """A picture of the character."""
    source_mask: Path | None = None
    """White where the character is in `source`."""
    poses: Path | None = None
    """Those that it is to follow."""
    wanted: tuple[Pose, ...] = ()
    """The same, read already."""
    result_poses: Path | None = None
    """Those that it shows, where they are known."""
    pose_detector: str | None = None
    """The one that knows these pictures, where the user names none."""
    masks: Path | None = None
    """Video, folder or picture: white where the character is, and what may be changed."""
    masks_of_cells: bool = False
    """Masks may be of another size, as those of our own runs are: each of their pixels is a block of a frame, and the
    source's is fitted as the source was."""
    fit: FitMode = "crop"
    """How frames of another size are brought to the result's."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.label or str(self.result)


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


FindPose = Callable[[Picture], Pose]


@dataclass(frozen=True, eq=False)
class Opened:
    """A clip and everything it is compared with, ready to be streamed."""

    given: Given
    clip: Clip
    is_moving: bool
    """Whether its pictures follow each other in time."""
    original: Clip | None
    match: Match | None
    picture: Picture | None
    """In place of `original`, the same for all frames."""
    masks: Clip | None
    mask: Picture | None
    """In place of `masks`."""
    wanted: Sequence[Pose] | None
    found: Sequence[Pose] | None
    by_original: frozenset[str]
    """Which of masks, wanted and found have an entry for each frame of the input, not of the result."""
    remarks: tuple[str, ...]

    @property
    def source(self) -> Picture | None:
        """The character's picture."""
        return None if self.given.source is None else read_image(self.given.source)

    @property
    def source_mask(self) -> Mask | None:
        """At the size of `source`."""
        path, source = self.given.source_mask, self.source
        if path is None or source is None:
            return None
        return _is_white(self._fitted(read_picture(path, as_numbers=True).pixels, source))

    def moments(self, find_pose: FindPose | None = None) -> Iterator[Moment]:
        """Every frame with what belongs to it; what is not in memory yet is decoded on the way.

        Args:
            find_pose: for poses that are not given.

        Raises:
            UserError: a frame cannot be decoded.
        """
        originals = _Ahead(frame.pixels for frame in self.original) if self.original is not None else None
        masks = _Ahead(frame.pixels for frame in self.masks) if self.masks is not None else None
        partners = self.match.partners if self.match is not None else {}
        for at, frame in enumerate(self.clip):
            pixels = frame.pixels
            partner = partners.get(at)
            seen = self.picture if originals is None else None if partner is None else originals.at(partner)
            original = None if seen is None else self._fitted(seen, pixels)
            place = {name: partner if name in self.by_original else at for name in ("masks", "wanted", "found")}
            mask = self.mask if masks is None else None if place["masks"] is None else masks.at(place["masks"])
            wanted, found = self._pose("wanted", place, pixels), self._pose("found", place, pixels)
            if find_pose is not None:
                if wanted is None and self.wanted is None and original is not None:
                    wanted = find_pose(original)
                if found is None and self.found is None and wanted is not None:
                    found = find_pose(pixels)
            cut = None if mask is None else _is_white(self._fitted_mask(mask, pixels))
            yield Moment(at, pixels, original, cut, wanted, found)

    def _fitted(self, picture: Picture, like: Picture) -> Picture:
        if picture.shape == like.shape:
            return picture
        return fit_like(self.given.fit, picture.shape[1], picture.shape[0], like).apply(picture)

    def _fitted_mask(self, mask: Picture, like: Picture) -> Picture:
        return enlarged(mask, *like.shape[:2]) if self.given.masks_of_cells else self._fitted(mask, like)

    def _pose(self, name: str, places: dict[str, int | None], like: Picture) -> Pose | None:
        poses: Sequence[Pose] | None = getattr(self, name)
        at = places[name]
        if poses is None or at is None:
            return None
        height_px, width_px = like.shape[:2]
        pose = poses[at]
        if (pose.width_px, pose.height_px) == (width_px, height_px):
            return pose
        fit = fit_like(self.given.fit, pose.width_px, pose.height_px, like)
        return pose.transform(fit.apply_points, width_px=width_px, height_px=height_px)


class _Ahead:
    """Pictures by their place, asked for in ascending order; one is held."""

    def __init__(self, pictures: Iterator[Picture]) -> None:
        self._pictures = enumerate(pictures)
        self._at, self._held = -1, np.empty((0, 0, 3), np.uint8)

    def at(self, place: int) -> Picture:
        while self._at < place:
            self._at, self._held = next(self._pictures)
        return self._held


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


def fit_like(mode: FitMode, width_px: int, height_px: int, like: Picture) -> Fit:
    """How pictures of a size are brought to that of another."""
    height, width = like.shape[:2]
    return plan_fit(
        width_px,
        height_px,
        mode=mode,
        target_width_px=width,
        target_height_px=height,
        size_factor=1,
        native_area_px=height * width,
    )


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


def _is_white(picture: Picture) -> Mask:
    return np.asarray(picture[..., 0] > 127, np.bool_)
