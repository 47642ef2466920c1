"""Prompts as the UNet reads them, for SD-1.x, SD-2.x and SDXL alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.unread import libraries_leave_it_to_us


@torch.no_grad()
def encode_prompt(
    model: DiffusionModel, prompt: str, negative_prompt: str, guided: bool, size_px: tuple[int, int]
) -> TextCondition:
    """Encode a prompt, with the negative prompt as first branch when `guided` (`branches.GUIDED`).

    What is not read of it is left to `tell_unread`.

    Args:
        size_px: height and width of the pictures; SDXL is conditioned on it.
    """
    with libraries_leave_it_to_us():
        encoded = model.pipe.encode_prompt(
            prompt,
            device=model.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=negative_prompt or None,  # as in a plain call: SDXL has an embedding of its own for "none"
        )
    conditional, unconditional = encoded[0], encoded[1]
    hidden = torch.cat([unconditional, conditional]) if guided else conditional
    if len(encoded) == 2:
        return TextCondition(hidden.to(model.dtype))
    pooled = torch.cat([encoded[3], encoded[2]]) if guided else encoded[2]
    time_ids = torch.tensor([[*size_px, 0, 0, *size_px]], dtype=model.dtype, device=model.device)
    return TextCondition(hidden.to(model.dtype), pooled.to(model.dtype), time_ids.repeat(hidden.shape[0], 1))


def find_words(tokenizer: Any, prompt: str, words: Sequence[str]) -> tuple[int, ...]:
    """Positions of `words` among the prompt's tokens, every occurrence; several words may be one entry.

    Raises:
        UserError: a word that is not in the prompt, or only behind the part that the text encoder reads.
    """
    read = tokenizer(prompt, truncation=True, max_length=tokenizer.model_max_length).input_ids
    positions: set[int] = set()
    for word in words:
        ids = tokenizer(word, add_special_tokens=False).input_ids
        starts = [i for i in range(len(read) - len(ids) + 1) if ids and read[i : i + len(ids)] == ids]
        if not starts:
            raise UserError(
                f"mask_words: {word!r} is not in the prompt {prompt!r} "
                f"(its first {tokenizer.model_max_length} tokens); give words as they stand there"
            )
        positions.update(i for start in starts for i in range(start, start + len(ids)))
    return tuple(sorted(positions))
