"""Characters as `masactrl-video` keeps and exports them, to and from what a graph has: picture, prompt, words, pose."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masactrl_video.comfyui.poses import Frames, frames_of, read
from masactrl_video.errors import UserError, counted
from masactrl_video.poses.pose import Pose
from masactrl_video.sources.characters.archive import read_archive
from masactrl_video.sources.characters.index import INDEX_NAME
from masactrl_video.sources.characters.pictures import kept_picture, kept_pose, save_picture
from masactrl_video.sources.characters.store import Character, character_names, folder_of, open_character

logger = logging.getLogger(__name__)

ARCHIVE = ".zip"


@dataclass(frozen=True, eq=False)
class Loaded:
    """What is known of a character."""

    image: NDArray[np.float32]
    """(1, height, width, 3) in [0, 1]."""
    prompt: str
    """Empty where nothing was said of a picture."""
    words: str
    """Those of the prompt that name it, parted by spaces."""
    poses: Frames
    """One frame; nobody is in it where the pose is not known."""


def names(root: Path) -> list[str]:
    """Folders of characters, and exported files of them with their suffix; nothing is opened."""
    if not root.is_dir():
        return []
    folders = [name for name in character_names(root) if (root / name / INDEX_NAME).is_file()]
    files = (path for path in root.iterdir() if path.suffix == ARCHIVE and path.is_file() and not path.is_symlink())
    return folders + sorted(path.name for path in files)


def state(root: Path, name: str) -> str:
    """What changes when a character of a name does."""
    path = _archive(root, name) if name.endswith(ARCHIVE) else folder_of(root, name) / INDEX_NAME
    return f"{path.stat().st_mtime_ns} {path.stat().st_size}" if path.is_file() else ""


def save(
    root: Path,
    name: str,
    image: NDArray[np.float32],
    *,
    prompt: str = "",
    words: str = "",
    poses: Sequence[Any] | None = None,
    overwrite: bool = False,
) -> Character:
    """Keep a picture as a character, which `masactrl-video render --character` takes.

    Args:
        image: (1, height, width, 3) in [0, 1].
        words: of the prompt, parted by commas or spaces.
        poses: one frame.

    Raises:
        UserError: more than one picture or pose, a name that is taken or cannot be one, words that are not in the
            prompt, or a pose of another shape.
    """
    if len(image) != 1:
        raise UserError(f"image: got {counted(len(image), 'picture')}; a character is one")
    found = None if poses is None else _pose(poses)
    asked = words.replace(",", " ").split()
    picture = (np.clip(image[0, ..., :3], 0, 1) * 255).round().astype(np.uint8)
    return save_picture(root, name, picture, caption=prompt.strip(), words=asked, pose=found, overwrite=overwrite)


def load(root: Path, name: str) -> Loaded:
    """A character by the name of its folder or exported file, after checking every byte of it.

    Raises:
        UserError: there is none of that name, or it is damaged.
    """
    character = read_archive(_archive(root, name)) if name.endswith(ARCHIVE) else open_character(root, name)
    recipe = character.index.recipe
    pose = kept_pose(character)
    if pose is None:
        logger.info("character %s: its pose is not known; nobody is in the poses", name)
        pose = Pose((), recipe.width, recipe.height)
    image = kept_picture(character)[None].astype(np.float32) / np.float32(255)
    return Loaded(image, recipe.said, " ".join(recipe.words), frames_of([pose]))


def _pose(frames: Sequence[Any]) -> Pose:
    poses = read(frames, "poses")
    if len(poses) != 1:
        raise UserError(f"poses: got {counted(len(poses), 'frame')}; give the one of the picture")
    return poses[0]


def _archive(root: Path, name: str) -> Path:
    """An exported file in the folder; no other name is ever joined to it."""
    if name not in names(root):
        raise UserError(f"character: no exported file {name!r:.80} is in {root}; put it there")
    return root / name
