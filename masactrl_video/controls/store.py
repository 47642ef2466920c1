"""Guidance on disk: a folder with one PNG per frame, pose.json where there are poses, and index.json."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from masactrl_video.errors import StorageError, UserError
from masactrl_video.video.picture_file import open_picture

INDEX_NAME = "index.json"
POSE_NAME = "pose.json"
_FRAME = re.compile(r"\d{6,}\.png")


class GuidanceIndex(BaseModel):
    """What a guidance folder holds and what made it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["masactrl-video guidance 1"] = "masactrl-video guidance 1"
    key: str
    """names everything that determined the pictures: clip, fit, kind, options, weights"""
    kind: str
    frame_count: PositiveInt
    width_px: PositiveInt
    height_px: PositiveInt
    missing: tuple[NonNegativeInt, ...] = ()
    """frames in which nobody was found"""
    filled: bool = False
    """whether those have a pose from their neighbours"""


def frame_name(index: int) -> str:
    """The file of a frame: 000000.png and so on."""
    return f"{index:06d}.png"


def read_index(folder: Path) -> GuidanceIndex:
    """Raises UserError when the folder has no index or one that this program did not write."""
    path = folder / INDEX_NAME
    try:
        return GuidanceIndex.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{folder}: no guidance there: {INDEX_NAME} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise UserError(
            f"{path}: not an index of guidance ({error.error_count()} errors, {error.errors()[0]['msg']})"
        ) from error


def require_replaceable(folder: Path) -> None:
    """Raises UserError unless `folder` is absent, empty, or guidance of ours without any other file."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: a file is in the way; name another folder for the guidance")
    try:
        read_index(folder)
    except UserError as error:
        raise UserError(f"{error}; it stays as it is: name another folder for the guidance") from error
    foreign = [entry.name for entry in folder.iterdir() if not _is_ours(entry.name)]
    if foreign:
        raise UserError(f"{folder}: holds other files beside guidance ({foreign[0]}); move them or name another folder")


def _is_ours(name: str) -> bool:
    return name in (INDEX_NAME, POSE_NAME) or _FRAME.fullmatch(name) is not None


def read_guidance_picture(folder: Path, index: int, size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """A frame's picture, RGB uint8 (height, width, 3). Raises UserError when it is gone or damaged."""
    path = folder / frame_name(index)
    try:
        data = BytesIO(path.read_bytes())  # what is checked is what is used
        with open_picture(path, ["PNG"], data) as picture:
            picture.verify()
        with open_picture(path, ["PNG"], data) as picture:
            pixels = np.array(picture)
    except (FileNotFoundError, IsADirectoryError) as error:
        if not folder.exists():
            raise StorageError(f"{folder} was removed during the run; the same command begins it anew") from error
        raise UserError(f"no such picture: {path}; delete the folder to make it anew") from error
    except UserError as error:
        raise UserError(f"{error}; delete the folder to make it anew") from error
    height_px, width_px = size_px
    if pixels.shape != (height_px, width_px, 3) or pixels.dtype != np.uint8:
        raise UserError(f"{path}: {pixels.dtype} {pixels.shape}; RGB of {width_px}x{height_px} is expected")
    return pixels


class GuidanceFrames:
    """The guidance pictures of a clip, read from a folder one at a time."""

    def __init__(self, folder: Path, index: GuidanceIndex) -> None:
        self.folder = folder
        self.index = index

    @classmethod
    def open(cls, folder: Path) -> "GuidanceFrames":
        """Raises UserError when the folder is not complete guidance."""
        index = read_index(folder)
        absent = [name for name in map(frame_name, range(index.frame_count)) if not (folder / name).is_file()]
        if absent:
            raise UserError(
                f"{folder}: {len(absent)} of {index.frame_count} pictures are gone, the first is {absent[0]}"
            )
        return cls(folder, index)

    @property
    def key(self) -> str:
        """What made the pictures."""
        return self.index.key

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.index.width_px, self.index.height_px

    @property
    def missing(self) -> tuple[int, ...]:
        """Frames in which nobody was found."""
        return self.index.missing

    @property
    def pose_path(self) -> Path | None:
        """The poses that were drawn, as JSON; None where the guidance is not a pose."""
        path = self.folder / POSE_NAME
        return path if path.is_file() else None

    def paths(self) -> Iterator[Path]:
        """The files of all pictures, in order."""
        return (self.folder / frame_name(index) for index in range(len(self)))

    def __len__(self) -> int:
        return self.index.frame_count

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3). Raises IndexError outside the clip, UserError when the file is damaged."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        return read_guidance_picture(self.folder, index % len(self), (self.size[1], self.size[0]))

    def check_whole(self) -> None:
        """Compare every picture with its checksums. Raises UserError when one is damaged."""
        for index in range(len(self)):
            self[index]

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[index] for index in range(len(self)))
