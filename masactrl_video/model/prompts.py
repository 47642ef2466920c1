"""Prompts: encoded for the denoiser, and where words stand in them."""

from __future__ import annotations

from collections.abc import Sequence

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.parts import Tokenizer
from masactrl_video.model.diffusion import DiffusionModel


def encode_prompt(
    model: DiffusionModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
) -> TextCondition:
    """Encode a prompt, with the negative prompt as first branch where the model guides by one at this scale.

    What is not read of it is left to `tell_unread`.

    Args:
        size_px: height and width of the pictures; some models are conditioned on it.
    """
    return model.backbone.encode_prompt(model, prompt, negative_prompt, guidance_scale, size_px)


def find_words(tokenizer: Tokenizer, prompt: str, words: Sequence[str], setting: str = "mask_words") -> tuple[int, ...]:
    """Positions of `words` among the prompt's tokens, every occurrence; several words may be one entry.

    Args:
        setting: which names them, for the message.

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
                f"{setting}: {word!r} is not in the prompt {prompt!r} "
                f"(its first {tokenizer.model_max_length} tokens); give words as they stand there"
            )
        positions.update(i for start in starts for i in range(start, start + len(ids)))
    return tuple(sorted(positions))
