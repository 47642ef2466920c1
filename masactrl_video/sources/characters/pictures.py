"""Characters that are pictures: kept without a model, for any that inverts them."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masactrl_video.errors import UserError
from masactrl_video.poses.named_poses import named_pose, placed_in, pose_names
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import pose_text
from masactrl_video.sources.characters.index import PICTURE_NAME, POSE_NAME, CharacterIndex, PictureRecipe
from masactrl_video.sources.characters.pose import parse_pose
from masactrl_video.sources.characters.store import Character, check_vacant, folder_of, open_character, save_character
from masactrl_video.video.png import png_bytes


def save_picture(
    root: Path,
    name: str,
    picture: NDArray[np.uint8],
    *,
    caption: str = "",
    words: Sequence[str] = (),
    pose: Pose | None = None,
    overwrite: bool = False,
) -> Character:
    """Keep a picture as a character; the same one under the same name stays as it is.

    Args:
        picture: RGB (height, width, 3).
        caption: a text that names the character.
        words: the character's words in the caption.
        pose: on a canvas of the picture's shape.

    Raises:
        UserError: the name is taken or cannot be one, words that are not in the caption, or a pose of another shape.
    """
    height, width = picture.shape[:2]
    if missing := [word for word in words if word.casefold() not in caption.casefold()]:
        raise UserError(f"words: {missing[0]!r} is not in the prompt {caption!r:.200}; give words as they stand there")
    recipe = PictureRecipe(
        kind="picture", caption=caption, words=list(words), width=width, height=height, has_pose=pose is not None
    )
    files = {PICTURE_NAME: png_bytes(picture)}
    if pose is not None:
        files[POSE_NAME] = pose_text([_on_picture(pose, width, height)]).encode()
    if os.path.lexists(folder_of(root, name)) and not overwrite:
        there = open_character(root, name)
        if there.index.recipe == recipe and all(there.read(file) == data for file, data in files.items()):
            return there
        check_vacant(root, name, overwrite)
    return save_character(root, CharacterIndex.made_now(name, recipe), files, overwrite)


def kept_picture(character: Character, name: str = PICTURE_NAME) -> NDArray[np.uint8]:
    """The picture of a character of any kind, or another of its pictures, RGB (height, width, 3)."""
    with Image.open(io.BytesIO(character.read(name)), formats=["PNG"]) as picture:
        return np.array(picture.convert("RGB"))


def kept_pose(character: Character) -> Pose | None:
    """The pose in which a character was made, on its picture's canvas; None where only a picture or nothing tells it.

    Raises:
        CharacterDamaged: its file holds none.
    """
    recipe = character.index.recipe
    size = recipe.width, recipe.height
    if isinstance(recipe, PictureRecipe):
        return parse_pose(character.read(POSE_NAME), character.folder) if recipe.has_pose else None
    return placed_in(named_pose(recipe.pose), (0, 0, *size), *size) if recipe.pose in pose_names() else None


def _on_picture(pose: Pose, width: int, height: int) -> Pose:
    """A pose in pixels of the picture."""
    if not pose.has_person:
        raise UserError("pose: nobody is in it; give the pose of the picture's character, or none")
    scaled = pose.height_px * width / pose.width_px
    if abs(scaled - height) > 1:
        raise UserError(
            f"pose: its canvas is {pose.width_px}x{pose.height_px}, the picture {width}x{height}; give one of its shape"
        )
    return pose.scaled(width_px=width, height_px=height)
