"""From a saved character to the source that it was made as."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load

from masactrl_video.controls.canvas import size_for
from masactrl_video.controls.clip import fit_like_frames
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GuidanceRule
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import with_controls
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.invert import Trajectory, check_invertible
from masactrl_video.model.sampling.latents import encode_picture
from masactrl_video.settings.agreement import INVERTIBLE
from masactrl_video.settings.fields import settings_where
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.index import (
    INDEX_NAME,
    REFERENCE_NAME,
    TENSORS_NAME,
    CharacterDamaged,
    PictureRecipe,
    Recipe,
    guidance_name,
)
from masactrl_video.sources.characters.pictures import kept_picture
from masactrl_video.sources.characters.store import Character, default_root, folder_of, open_character
from masactrl_video.sources.record import ObjectWords
from masactrl_video.sources.reference import ReferenceSource, read_reference, say_reference
from masactrl_video.sources.source import GeneratedSource, RealSource, inverted_text

logger = logging.getLogger(__name__)

NOISE, PICTURE_LATENTS = "initial_noise", "picture_latents"
"""Names of the tensors of a generated and of an inverted character."""

Planned = tuple[GeneratedSource | RealSource, Sequence[str], ObjectWords]


def level_name(step: int) -> str:
    """Tensor with the latents that enter a denoising step of an inverted character."""
    return f"level_{step:04d}"


def open_saved(settings: Settings) -> Character:
    """The character that the settings name, checked byte by byte, and against the settings.

    Raises:
        UserError: there is none, it is damaged, or it was made with another model or other steps.
    """
    assert settings.character is not None
    character = open_character(settings.characters_dir or default_root(), settings.character)
    check_fits(settings, character)
    return character


def saved_index(settings: Settings, name: str | None = None) -> Path:
    """The file that is there as long as the character, or the one of a name, is kept."""
    name = name or settings.character
    assert name is not None
    return folder_of(settings.characters_dir or default_root(), name) / INDEX_NAME


def check_fits(settings: Settings, character: Character) -> None:
    """See that source and frames will share model and denoising steps; a picture belongs to no model.

    Raises:
        UserError: the first setting that differs, or a scheduler that inverts no picture.
    """
    recipe = character.index.recipe
    if isinstance(recipe, PictureRecipe):
        if settings.scheduler not in INVERTIBLE:
            raise UserError(
                f"scheduler {settings.scheduler}: character {character.index.name!r} is a picture, which is inverted "
                f"with {' or '.join(INVERTIBLE)}; take that"
            )
        return
    if recipe.kind == "reference":  # of its network alone, whatever that is called (see `sources.reference`)
        return
    for name in settings_where(Settings, lambda about: about.fixed_by_character):
        own, ours = getattr(recipe, name), getattr(settings, name)
        if own != ours:
            raise UserError(
                f"character {character.index.name!r} was made with {name} {own!r}, here it is {ours!r}: give the same, "
                "or make the character anew"
            )


def canvas_px(character: Character, model: DiffusionModel) -> tuple[int, int]:
    """Height and width at which a character is made where no frames say it: its own, or a picture's shape."""
    recipe = character.index.recipe
    if isinstance(recipe, PictureRecipe):
        return size_for(recipe.width / recipe.height, None, model, f"character {character.index.name!r}")
    return recipe.height, recipe.width


def saved_caption(character: Character) -> str:
    """The text that names the character.

    Raises:
        UserError: it is an inverted picture of which nothing was said.
    """
    recipe = character.index.recipe
    if not recipe.caption and isinstance(recipe, PictureRecipe):
        raise UserError(
            f"character {character.index.name!r} was saved without a prompt, so that no words can be found in it; save "
            "it anew with one"
        )
    if not recipe.caption:
        raise UserError(
            f"character {character.index.name!r} was made from a picture without --caption, so that no words can be "
            "found in it; make it anew with one"
        )
    return recipe.caption


def saved_source(
    settings: Settings,
    model: DiffusionModel,
    character: Character,
    scheduler: Schedule,
    words: Sequence[str],
    frames_px: tuple[int, int],
) -> Planned:
    """The source of a saved character, its branches, and where its words stand.

    Args:
        words: whose cross-attention gives its mask; empty: no mask.
        frames_px: (height, width) of the frames that will query it.

    Raises:
        UserError: tensors that do not belong to the model, or a mask for frames of another size.
    """
    recipe = character.index.recipe
    if isinstance(recipe, PictureRecipe):
        return _picture_now(settings, model, character, scheduler, words, frames_px)
    size_px = (recipe.height, recipe.width)
    if settings.masked and size_px != tuple(frames_px):
        raise UserError(
            f"character {character.index.name!r} is {recipe.width}x{recipe.height}, the frames {frames_px[1]}x"
            f"{frames_px[0]}: mode {settings.attention_mode} needs one size; make it with --width {frames_px[1]} "
            f"--height {frames_px[0]}"
        )
    planned = _generated if recipe.kind == "generated" else _real
    return planned(settings, model, character, recipe, scheduler, words)


def saved_references(settings: Settings, model: DiffusionModel, names: Sequence[str]) -> ReferenceSource:
    """The references of characters, and the picture of the first.

    Raises:
        UserError: one of them is damaged.
    """
    alone = [settings.model_copy(update={"character": name}) for name in names]
    characters = [open_saved(one) for one in alone]
    for character in characters:
        say_reference(character.index)
    latents = encode_picture(model, kept_picture(characters[0]))
    made = tuple(character.index.files[REFERENCE_NAME].sha256 for character in characters)
    return ReferenceSource(tuple(map(read_reference, characters)), made, latents)


def _generated(
    settings: Settings,
    model: DiffusionModel,
    character: Character,
    recipe: Recipe,
    scheduler: Schedule,
    words: Sequence[str],
) -> Planned:
    source_model = with_controls(settings, model, recipe.controls)
    size_px = (recipe.height, recipe.width)
    guided = (recipe.guidance_scale, size_px, recipe.true_cfg_scale)
    text = encode_prompt(model, recipe.prompt, recipe.negative_prompt, *guided)
    pictures = [_picture(character, n)[None] for n in range(len(recipe.controls))]
    guidance = source_model.prepare_controls(pictures) if pictures else None
    noise = _tensor(character, _tensors(character), NOISE, model)
    scale = recipe.true_cfg_scale if recipe.true_cfg_scale > 1 else recipe.guidance_scale
    rule = GuidanceRule(recipe.cfg_normalization, recipe.cfg_truncation)
    denoising = Denoising(source_model, text, scale, recipe.seed, rule=rule)
    tokens = find_words(model.tokenizer, recipe.prompt, words) if words else ()
    source = GeneratedSource(denoising, scheduler, noise, guidance, pictures=pictures)
    return source, text.names, ObjectWords(tokens)


def _real(
    settings: Settings,
    model: DiffusionModel,
    character: Character,
    recipe: Recipe,
    scheduler: Schedule,
    words: Sequence[str],
) -> Planned:
    tensors = _tensors(character)
    size_px = (recipe.height, recipe.width)
    text, branches = inverted_text(settings, model, recipe.prompt, recipe.negative_prompt, size_px)
    names = [level_name(step) for step in range(recipe.num_inference_steps + 1)]
    trajectory = Trajectory(tuple(_tensor(character, tensors, name, model) for name in names))
    picture = _tensor(character, tensors, PICTURE_LATENTS, model)
    source = RealSource(model, scheduler, picture, text, trajectory)
    return source, branches, _words_in_caption(model, character, words, size_px)


def _picture_now(
    settings: Settings,
    model: DiffusionModel,
    character: Character,
    scheduler: Schedule,
    words: Sequence[str],
    frames_px: tuple[int, int],
) -> Planned:
    """A picture that belongs to no model: fitted to the frames and inverted, as one that `source_image` names."""
    check_invertible(scheduler)
    picture = kept_picture(character)
    fit = fit_like_frames(settings, picture.shape[1], picture.shape[0], frames_px)
    logger.info("character %s: a picture, %s", character.index.name, fit.describe())
    text, branches = inverted_text(settings, model, "", settings.negative_prompt, frames_px)
    source = RealSource(model, scheduler, encode_picture(model, fit.apply(picture)), text)
    return source, branches, _words_in_caption(model, character, words, frames_px)


def _words_in_caption(
    model: DiffusionModel, character: Character, words: Sequence[str], size_px: tuple[int, int]
) -> ObjectWords:
    if not words:
        return ObjectWords(())
    caption = saved_caption(character)
    condition = encode_prompt(model, caption, "", 1.0, size_px)
    return ObjectWords(find_words(model.tokenizer, caption, words), condition)


def _tensors(character: Character) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load(character.read(TENSORS_NAME))
    return tensors


def _tensor(character: Character, tensors: dict[str, torch.Tensor], name: str, model: DiffusionModel) -> torch.Tensor:
    """(1, channels, height, width) on the model's device, in its number format."""
    recipe = character.index.recipe
    shape = (1, *model.latents.shape((recipe.height, recipe.width)))
    found = tensors.get(name)
    if found is None or tuple(found.shape) != shape or not bool(found.isfinite().all()):
        raise CharacterDamaged(character.folder, f"{TENSORS_NAME} has no finite {name} of shape {shape}")
    return found.to(model.device, model.dtype)


def _picture(character: Character, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    recipe, name = character.index.recipe, guidance_name(number)
    pixels = kept_picture(character, name)
    if pixels.shape != (recipe.height, recipe.width, 3):
        raise CharacterDamaged(character.folder, f"{name} is not {recipe.width}x{recipe.height}")
    return pixels
