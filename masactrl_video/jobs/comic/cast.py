"""The characters of a comic: each with a source of its own, recorded once for all panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.controls.canvas import EmptyCanvas, size_for
from masactrl_video.controls.single_pose import pose_control, pose_picture, with_guidance
from masactrl_video.errors import UserError
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import with_controls
from masactrl_video.model.prompts import find_words
from masactrl_video.page.story import Character
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.control import check_source_used
from masactrl_video.sources.plan import PlannedSource, plan_source
from masactrl_video.sources.saved import canvas_px, open_saved, saved_caption
from masactrl_video.video.image_folder import read_image

Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class CastMember:
    """A character of the story whose source is planned, checked against the model, but not yet made."""

    name: str
    settings: Settings
    size_px: tuple[int, int]
    """Height and width of the source."""
    model: DiffusionModel
    pose_picture: Picture | None

    def plan(self) -> PlannedSource:
        """What will be recorded."""
        guidance: Any = [[self.pose_picture]] if self.pose_picture is not None else []
        return plan_source(self.settings, self.model, EmptyCanvas(self.size_px), guidance)

    def record(self) -> CachedSource:
        """The source, from the cache or made now."""
        return self.plan().record(self.model, self.settings)


def plan_member(name: str, character: Character, settings: Settings, model: DiffusionModel, folder: Path) -> CastMember:
    """Resolve a character against the model; nothing is computed.

    Raises:
        UserError: a picture, pose or saved character that cannot be used, words that are not in its prompt, or a size
            that the model does not take.
    """
    where = f"characters.{name}"
    words = list(character.source_words or character.words or [])
    changes: dict[str, Any] = {"attention_mode": "masked", "mask_words": words} if words else {}
    size_px, control, picture = _size_px(character, model, folder, where), [], None
    if character.prompt is not None:
        seed = settings.seed if character.seed is None else character.seed
        changes |= {"prompt": character.prompt, "seed": seed}
        if character.pose is not None and character.pose != "none":
            control = [pose_control(settings, f"{where}.pose")]
            picture = pose_picture(settings, character.pose, size_px, folder, f"{where}.pose")
    elif character.image is not None:
        caption = {"source_caption": character.caption, "prompt": character.caption} if words else {}
        changes |= {"source_image": folder / character.image, **caption}
    else:
        saved = open_saved(settings.model_copy(update={"character": character.source}))
        recipe = saved.index.recipe
        size_px = canvas_px(saved, model)
        if recipe.kind == "reference":  # seen as a whole: words and boxes only say where balloons belong
            changes, words = {}, []
        changes["character"] = character.source
        if words:
            own = list(character.source_words or recipe.words or words)
            changes |= {"prompt": saved_caption(saved), "mask_words": own}
    try:
        own_settings = with_guidance(settings, control, source_positions="as-is", **changes)  # its source follows none
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    own_model = with_controls(settings, model, [settings.controls[used] for used in control])
    check_source_used(own_settings, own_model)
    return CastMember(name, own_settings, size_px, own_model, picture)


def check_words(model: DiffusionModel, prompt: str, words: Sequence[str], where: str) -> tuple[int, ...]:
    """Positions of a character's words in a panel's prompt.

    Raises:
        UserError: one of them is not there.
    """
    try:
        return find_words(model.tokenizer, prompt, words)
    except UserError as error:
        raise UserError(f"{where}: {str(error).removeprefix('mask_words: ')}") from error


def _size_px(character: Character, model: DiffusionModel, folder: Path, where: str) -> tuple[int, int]:
    if character.image is None:
        return size_for(1.0, character.size, model, where)
    if not (folder / character.image).is_file():
        raise UserError(f"{where}.image: no such file: {folder / character.image}")
    height, width = read_image(folder / character.image).shape[:2]
    return size_for(width / height, character.size, model, where)
