"""Training pictures, drawn once into memory-mapped arrays."""

import json
import logging
import multiprocessing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.demo.world.frame import Frame, posed_at_random
from masactrl_video.demo.world.identity import NAMED, WORLDS, Identity, World, random_identity
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.storage.staging import staged_folder

logger = logging.getLogger(__name__)

CANNY_THRESHOLDS = (100, 200)
FRAMES_EACH = 4
"""Frames in a row that show the same identity, each in a pose of its own."""


@dataclass(frozen=True)
class Frames:
    """Drawn frames in memory-mapped arrays."""

    images: NDArray[np.uint8]
    """RGB (frames, height, width, 3)."""
    others: NDArray[np.uint8]
    """Of each frame, somebody else in the same pose, whom the same caption fits. RGB (frames, height, width, 3)."""
    masks: NDArray[np.uint8]
    """1 on the character. (frames, height, width)"""
    keypoints: NDArray[np.float32]
    """Pixels. (frames, 18, 2)"""
    captions: list[str]

    def pose_picture(self, index: int) -> NDArray[np.uint8]:
        """The skeleton of one frame as ControlNets see it. RGB (height, width, 3)"""
        height, width = self.images.shape[1:3]
        body = np.concatenate([self.keypoints[index], np.ones((18, 1), np.float32)], axis=1)
        return draw_pose(Pose((Person(body),), width, height))

    def canny_picture(self, index: int) -> NDArray[np.uint8]:
        """The edges of one frame, white on black. RGB (height, width, 3)"""
        edges = cv2.Canny(np.ascontiguousarray(self.images[index]), *CANNY_THRESHOLDS)
        return np.repeat(edges[..., None], 3, axis=2)

    def condition_picture(self, condition: str, index: int) -> NDArray[np.uint8]:
        """The picture of one frame for the ``pose`` or ``canny`` networks."""
        return {"pose": self.pose_picture, "canny": self.canny_picture}[condition](index)


def training_frame(index: int, seed: int, size_px: int, world: str) -> Frame:
    """The frame of an index, of an identity that is not held out; ``FRAMES_EACH`` in a row show the same one."""
    chosen = WORLDS[world]
    identity = _training_identity(index, seed, chosen)
    return posed_at_random(identity, np.random.default_rng((seed, index, 1)), size_px, size_px, chosen)


def other_frame(index: int, seed: int, size_px: int, world: str) -> Frame:
    """The training frame of an index with somebody else in it: all that its caption does not name is drawn anew."""
    chosen = WORLDS[world]
    identity = _training_identity(index, seed, chosen)
    named = {name: getattr(identity, name) for name in NAMED}
    other = replace(random_identity(np.random.default_rng((seed, index, 2)), chosen), **named)
    return posed_at_random(other, np.random.default_rng((seed, index, 1)), size_px, size_px, chosen)


def _training_identity(index: int, seed: int, world: World) -> Identity:
    random = np.random.default_rng((seed, index // FRAMES_EACH))
    return next(one for one in iter(lambda: random_identity(random, world), None) if not one.held_out)


def _frame_and_other(index: int, seed: int, size_px: int, world: str) -> tuple[Frame, Frame]:
    return training_frame(index, seed, size_px, world), other_frame(index, seed, size_px, world)


def draw_frames(folder: Path, frames: int, size_px: int, world: str, seed: int, workers: int) -> None:
    """Draws training frames into ``folder``, which must not exist yet."""
    with staged_folder(folder) as whole:
        images, others = (
            _array(whole / f"{name}.npy", np.uint8, (frames, size_px, size_px, 3)) for name in ("images", "others")
        )
        masks = _array(whole / "masks.npy", np.uint8, (frames, size_px, size_px))
        keypoints = _array(whole / "keypoints.npy", np.float32, (frames, 18, 2))
        captions = []
        draw = partial(_frame_and_other, seed=seed, size_px=size_px, world=world)
        with multiprocessing.get_context("spawn").Pool(workers, cv2.setNumThreads, (1,)) as pool:
            drawn = pool.imap(draw, range(frames), chunksize=64)
            for index, (frame, other) in enumerate(drawn):
                if index % 1000 == 0:
                    logger.info("drawn: %d of %d pictures", index, frames)
                images[index], others[index] = frame.image, other.image
                masks[index], keypoints[index] = frame.mask, frame.keypoints
                captions.append(frame.caption)
        (whole / "captions.json").write_text(json.dumps(captions))


def open_frames(folder: Path) -> Frames:
    """Opens frames that ``draw_frames`` wrote."""
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("images", "others", "masks", "keypoints")
    }
    return Frames(**arrays, captions=json.loads((folder / "captions.json").read_text()))


def _array(path: Path, dtype: type, shape: tuple[int, ...]) -> "np.memmap[tuple[int, ...], np.dtype[np.generic]]":
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
