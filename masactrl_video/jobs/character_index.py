"""What is written down of a character that is made: how its source came about, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from masactrl_video.settings.control import Control
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.index import CharacterIndex, Recipe, ReferenceFacts


def new_index(
    settings: Settings,
    name: str,
    *,
    kind: Literal["generated", "real", "reference"],
    prompt: str,
    size_px: tuple[int, int],
    pose: str | None,
    caption: str,
    words: Sequence[str],
    controls: Sequence[Control] = (),
    reference: ReferenceFacts | None = None,
) -> CharacterIndex:
    """The index of a character made now by these settings, before it has files.

    Args:
        kind, prompt, pose, caption, words, controls, reference: see `Recipe`.
        size_px: height and width of its picture.
    """
    recipe = Recipe(
        kind=kind,
        prompt=prompt,
        negative_prompt=settings.negative_prompt,
        caption=caption,
        words=list(words),
        seed=settings.seed,
        guidance_scale=settings.guidance_scale,
        width=size_px[1],
        height=size_px[0],
        model=settings.model,
        revision=settings.revision,
        variant=settings.variant,
        lora=settings.lora,
        scheduler=settings.scheduler,
        num_inference_steps=settings.num_inference_steps,
        controls=list(controls),
        pose=pose,
        prediction_type=settings.prediction_type,
        true_cfg_scale=settings.true_cfg_scale,
        cfg_normalization=settings.cfg_normalization,
        cfg_truncation=settings.cfg_truncation,
        reference=reference,
    )
    return CharacterIndex.made_now(name, recipe)
