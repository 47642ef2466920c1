"""The guidance of a clip: made once, frame by frame, and reused while nothing that determines it has changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor
from itertools import pairwise
from pathlib import Path
from threading import Condition

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masactrl_video.controls.extractors import FrameGuidance
from masactrl_video.controls.store import (
    INDEX_NAME,
    POSE_NAME,
    GuidanceFrames,
    GuidanceIndex,
    frame_name,
    read_guidance_picture,
    read_index,
    require_replaceable,
)
from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.progress import carried, counting
from masactrl_video.storage.staging import staged_folder

logger = logging.getLogger(__name__)


def extract_guidance(
    frames: Iterable[NDArray[np.uint8]],
    *,
    folder: Path,
    key: str,
    make: FrameGuidance,
    total: int | None = None,
    tell: Callable[[Path], None] = lambda picture: None,
) -> GuidanceFrames:
    """One guidance picture for each frame, in `folder`.

    frames are RGB uint8 (height, width, 3), all of the size that `make` wants, and are streamed. key names
    everything that determines the result. Complete guidance with the same key is reused without touching `frames`;
    guidance with another key, or of another number of pictures than total, is replaced; tell is called with each
    picture's file, in order, where it lies until all are there, but not before something is to be seen in one: so
    nobody works with guidance that is refused, or is said to be empty, at the end. Raises UserError when there are no
    frames, when `folder` holds something else, or when `make` refuses its input; nothing is left behind then.
    """
    existing = _reusable(folder, key, total)
    if existing is not None:
        logger.info("%s: guidance reused", folder)
        return existing
    require_replaceable(folder)
    with staged_folder(folder, "replace") as staging:
        index = _write(counting(frames, f"guidance ({make.kind})", "frame", total=total), staging, key, make, tell)
        (staging / INDEX_NAME).write_text(index.model_dump_json(indent=1), encoding="utf-8")
        require_replaceable(folder)  # minutes have passed
    _report_missing(index, folder)
    return GuidanceFrames.open(folder)


def frame_ranges(indices: Sequence[int]) -> str:
    """Ascending frame numbers, at least one, in short: "frames 3–7, 12"."""
    breaks = [place for place, (left, right) in enumerate(pairwise(indices), 1) if right != left + 1]
    bounds = pairwise([0, *breaks, len(indices)])
    runs = [(indices[start], indices[stop - 1]) for start, stop in bounds]
    word = "frame" if len(indices) == 1 else "frames"
    return f"{word} " + ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in runs)


def _reusable(folder: Path, key: str, total: int | None) -> GuidanceFrames | None:
    """The guidance in the folder when it is whole and has this key; of a damaged clip there may be fewer pictures."""
    if not (folder / INDEX_NAME).is_file() or read_index(folder).key != key:
        return None
    try:
        guidance = GuidanceFrames.open(folder)
        guidance.check_whole()
        return guidance if total in (None, len(guidance)) else None
    except UserError as error:
        logger.warning("%s; made anew", error)
        return None


def _write(
    frames: Iterable[NDArray[np.uint8]], staging: Path, key: str, make: FrameGuidance, tell: Callable[[Path], None]
) -> GuidanceIndex:
    poses: list[Pose] = []
    missing: list[int] = []
    size: tuple[int, ...] | None = None
    held: list[Path] = []
    is_empty = True
    for index, guidance in enumerate(make(frames)):
        size = size or guidance.image.shape
        if guidance.image.shape != size:
            raise ValueError(f"frame {index}: guidance {guidance.image.shape} after {size}; one size a clip")
        Image.fromarray(guidance.image).save(staging / frame_name(index))
        held.append(staging / frame_name(index))
        is_empty = is_empty and not guidance.shows_anything
        while held and not is_empty:
            tell(held.pop(0))
        if guidance.pose is not None:
            poses.append(guidance.pose)
        if guidance.person_missing:
            missing.append(index)
    if size is None:
        raise UserError("no frames to make guidance from; at least one is needed")
    if is_empty and make.when_empty:
        logger.warning("guidance (%s): %s", make.kind, make.when_empty)
    for picture in held:
        tell(picture)
    if poses:
        write_poses(staging / POSE_NAME, poses)
    filled = any(poses[number].has_person for number in missing)
    return GuidanceIndex(
        key=key,
        kind=make.kind,
        frame_count=index + 1,
        width_px=size[1],
        height_px=size[0],
        missing=tuple(missing),
        filled=filled,
    )


def _report_missing(index: GuidanceIndex, folder: Path) -> None:
    if not index.missing:
        return
    numbers, count = frame_ranges(index.missing), f"{len(index.missing)} of {index.frame_count}"
    their = "its" if len(index.missing) == 1 else "their"
    remedy = f"filled from {their} neighbours" if index.filled else f"{their} guidance is black"
    logger.warning("%s: no person found in %s (%s): %s", folder, numbers, count, remedy)


Extract = Callable[[Callable[[Path | None], None]], GuidanceFrames]
"""Makes guidance; calls what it is given with each picture's file in order, and with None where it may be stopped."""


class GuidanceBeside:
    """The pictures of a clip in the making: one that is not there yet is waited for.

    What stops the extraction is raised wherever a picture is asked for from then on, also one that is there.
    """

    def __init__(
        self, extract: Extract, executor: Executor, *, key: str, frames: int, size_px: tuple[int, int]
    ) -> None:
        """Begin.

        Args:
            key: what makes the pictures.
            size_px: height and width of each.
        """
        self.key = key
        self._frames, self._size_px = frames, size_px
        self._change, self._there, self._stopped = Condition(), 0, False
        self._staging: Path | None = None
        self._made = executor.submit(carried(extract), self._on_picture)
        self._made.add_done_callback(lambda made: self._notify())

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3)."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        with self._change:
            self._change.wait_for(lambda: self._made.done() or index < self._there)
        if not self._made.done() and self._staging is not None:
            try:
                return read_guidance_picture(self._staging, index, self._size_px)
            except UserError:
                pass  # all are there now, and have moved to their place; or it is damaged, and is so there
        return self.whole()[index]

    def wait_for_first(self) -> None:
        """Wait until there is a picture, or until all is over; what has stopped it is raised."""
        with self._change:
            self._change.wait_for(lambda: self._made.done() or self._there > 0)
        if self._made.done():
            self.whole()

    def whole(self) -> GuidanceFrames:
        """Wait for all of it."""
        return self._made.result()

    def paths(self) -> Iterator[Path]:
        """The files of all pictures, as soon as all are there, and as long as nothing is stopped."""
        for path in self.whole().paths():
            self._check_goes_on()
            yield path

    def stop(self) -> None:
        """Give up what is not there yet, nothing of which stays, and the use of `paths`."""
        self._stopped = True
        self._made.cancel()

    def _on_picture(self, picture: Path | None) -> None:
        self._check_goes_on()
        if picture is not None:
            with self._change:
                self._staging, self._there = picture.parent, self._there + 1
                self._change.notify_all()

    def _check_goes_on(self) -> None:
        if self._stopped:
            raise CancelledError

    def _notify(self) -> None:
        with self._change:
            self._change.notify_all()
