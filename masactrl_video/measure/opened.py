"""What one clip is measured by: its files, and once they are open, every frame with what belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from masactrl_video.measure.matching import Match
from masactrl_video.measure.moments import Mask, Moment, Picture, enlarged
from masactrl_video.poses.pose import Pose
from masactrl_video.settings.names import FitMode
from masactrl_video.video.clip import Clip
from masactrl_video.video.fit import Fit, plan_fit
from masactrl_video.video.frame import Selection
from masactrl_video.video.image_folder import read_image, read_picture


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


def _is_white(picture: Picture) -> Mask:
    return np.asarray(picture[..., 0] > 127, np.bool_)
