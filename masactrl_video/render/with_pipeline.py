"""A source and its targets by a diffusers pipeline's own call, recorded in memory (for `pipelines/`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers.utils import BaseOutput

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.prompts import find_words
from masactrl_video.settings.acting import check_steps_act
from masactrl_video.settings.modes import check_mode, needs_of


def source_and_targets(
    pipe: Any,
    plain_call: Callable[..., BaseOutput],
    source: Sequence[Any],
    targets: Sequence[Sequence[Any]],
    *,
    masa_step: int,
    masa_layer: int,
    attention_mode: str,
    mask_words: Sequence[str],
    source_mask_words: Sequence[str] | None,
    guidance_scale: float,
    generator: torch.Generator | None,
    return_dict: bool,
    **kwargs: Any,
) -> Any:
    """Make the source, record it, and make every target against it, all from the same initial noise.

    Args:
        plain_call: the pipeline's call without mutual self-attention.
        source: its positional arguments for the source, the prompt first.
        targets: the same for each target.
        kwargs: its other arguments, the same for all images.

    Returns:
        One output of `plain_call`'s kind, its images in the order source, targets.

    Raises:
        UserError: steps, layers, words or a mode that do not exist.
    """
    check_mode(attention_mode)
    masked = "masks" in needs_of(attention_mode)
    if isinstance(num_steps := kwargs.get("num_inference_steps", 50), int) and "timesteps" not in kwargs:
        check_steps_act(range(masa_step, num_steps), num_steps)  # before the source is made
    if masked != bool(mask_words):
        raise UserError("mask_words: give the words of the object in attention_mode masked, and only there")
    backbone = backbone_of(pipe)
    tokenizer = backbone.tokenizer(pipe)
    source_words = find_words(tokenizer, source[0], source_mask_words or mask_words) if masked else ()
    rules = [MaskRule(find_words(tokenizer, target[0], mask_words)) if masked else None for target in targets]
    denoiser = backbone.denoiser(pipe)
    branches = backbone.branches(denoiser, guidance_scale)
    generator = generator or torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    start = generator.get_state()

    def make(arguments: Sequence[Any]) -> BaseOutput:
        generator.set_state(start)
        return plain_call(*arguments, guidance_scale=guidance_scale, generator=generator, **kwargs)

    with record_source(denoiser, masa_layer=masa_layer, branches=branches, object_tokens=source_words) as recorded:
        made = [make(source)]
    where: dict[str, Any] = {"masa_step": masa_step, "masa_layer": masa_layer, "mode": attention_mode}
    for target, masks in zip(targets, rules, strict=True):
        with use_source(denoiser, recorded, branches=branches, masks=masks, **where):
            made.append(make(target))
    return _joined(made, return_dict)


def _joined(outputs: Sequence[BaseOutput], return_dict: bool) -> Any:
    """One output of several, whatever the type of the images."""
    images: Any = [image for output in outputs for image in output.images]
    if isinstance(images[0], torch.Tensor):
        images = torch.stack(images)
    elif isinstance(images[0], np.ndarray):
        images = np.stack(images)
    if not hasattr(outputs[0], "nsfw_content_detected"):
        return type(outputs[0])(images) if return_dict else (images,)
    flags = [flag for output in outputs for flag in output.nsfw_content_detected or ()] or None
    return type(outputs[0])(images, flags) if return_dict else (images, flags)
