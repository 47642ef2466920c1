"""Prompts: encoded for the denoiser, and where words stand in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import no_other_prompt
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.parts import Tokenizer
from masactrl_video.model.diffusion import DiffusionModel


def encode_prompt(
    model: DiffusionModel,
    prompt: str,
    negative_prompt: str,
    guidance_scale: float,
    size_px: tuple[int, int],
    true_cfg_scale: float = 1.0,
) -> TextCondition:
    """Encode a prompt, with the negative prompt as first branch where the model guides by one at this scale.

    What is not read of it is left to `tell_unread`.

    Args:
        size_px: height and width of the pictures; some models are conditioned on it.
        true_cfg_scale: above 1 there is real guidance beside that which the model reads itself.

    Raises:
        UserError: real guidance beside guidance that is real already, or a picture of more tokens on a side than the
            model has places for.
    """
    _check_sides(model, size_px)
    encode = model.backbone.encode_prompt
    if true_cfg_scale <= 1:
        return encode(model, prompt, negative_prompt, guidance_scale, size_px)
    check_real_guidance(model, true_cfg_scale)
    parts = [encode(model, text, "", guidance_scale, size_px) for text in (negative_prompt, prompt)]
    return type(parts[0]).joined(parts)


def check_region_prompts(model: DiffusionModel, prompts: Iterable[str | None]) -> None:
    """See that parts of a picture may read these prompts in place of the picture's own; None: that one.

    Raises:
        UserError: the model reads one prompt for all of it.
    """
    if any(prompt is not None for prompt in prompts) and not model.backbone.reads_prompts_by_region:
        raise no_other_prompt(model.backbone.title)


def _check_sides(model: DiffusionModel, size_px: tuple[int, int]) -> None:
    longest = model.backbone.longest_side_px(model.pipe)
    if longest is not None and max(size_px) > longest:
        raise UserError(
            f"width and height: got {size_px[1]} x {size_px[0]}; this model has positions for {longest} px on a side, "
            "take no more"
        )


def check_real_guidance(model: DiffusionModel, true_cfg_scale: float) -> None:
    """See that real guidance, if it is wanted, can stand beside what the model reads itself.

    Raises:
        UserError: the model reads no guidance.
    """
    if true_cfg_scale > 1 and not model.backbone.distils_guidance(model.denoiser):
        raise UserError(
            "true_cfg_scale: it stands beside guidance that a model reads itself, as FLUX.1 dev does; here "
            "guidance_scale is real guidance already: leave true_cfg_scale out"
        )


def encode_inverted(
    model: DiffusionModel,
    prompt: str,
    negative_prompt: str,
    guidance_scale: float,
    size_px: tuple[int, int],
    true_cfg_scale: float = 1.0,
) -> TextCondition:
    """The same for a real picture, which is inverted without guidance: that which a model reads itself is 1."""
    guided = len(model.backbone.branches(model.denoiser, guidance_scale)) > 1
    own_scale = guidance_scale if guided else 1.0
    return encode_prompt(model, prompt, negative_prompt, own_scale, size_px, true_cfg_scale)


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
        for form in (word, f" {word}"):  # some tokenizers know a word behind a space as another one
            ids = tokenizer(form, add_special_tokens=False).input_ids
            starts = [i for i in range(len(read) - len(ids) + 1) if ids and read[i : i + len(ids)] == ids]
            if starts:
                break
        if not starts:
            raise UserError(
                f"{setting}: {word!r} is not in the prompt {prompt!r} "
                f"(its first {tokenizer.model_max_length} tokens); give words as they stand there"
            )
        positions.update(i for start in starts for i in range(start, start + len(ids)))
    return tuple(sorted(positions))
