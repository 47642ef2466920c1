"""Whether the parts of a loaded pipeline belong together: each reads what another one writes."""

from __future__ import annotations

import logging
from typing import Any

from diffusers import StableDiffusionPipeline

from masactrl_video.errors import UserError

logger = logging.getLogger(__name__)


def check_parts(name: str, pipe: StableDiffusionPipeline) -> None:
    """Compare UNet, VAE, text encoders and tokenizers of a Stable Diffusion pipeline.

    Raises:
        UserError: the UNet is of another kind, or two parts are of different models.
    """
    _check_unet(name, pipe)
    _check_latents(name, pipe.vae.config)
    encoders = [part for part in ("text_encoder", "text_encoder_2") if getattr(pipe, part, None) is not None]
    for part in encoders:
        tokenizer = part.replace("text_encoder", "tokenizer")
        _check_tokens(name, tokenizer, getattr(pipe, tokenizer), part, getattr(pipe, part).config)
    _check_text_states(name, pipe, encoders)
    if len(encoders) == 2:
        _check_pooled(name, pipe)


def _check_unet(name: str, pipe: StableDiffusionPipeline) -> None:
    """See that the UNet makes pictures from noise and a prompt alone, by self- and cross-attention."""
    unet, latent_channels = pipe.unet.config, pipe.vae.config.latent_channels
    if unet.in_channels < latent_channels:
        raise UserError(
            f"model {name!r}: its UNet reads latents of {unet.in_channels} channels, its VAE makes {latent_channels}: "
            "parts of two models; take both from one"
        )
    if unet.in_channels != latent_channels:
        raise UserError(
            f"model {name!r}: its UNet reads {unet.in_channels} channels where latents have {latent_channels}: "
            "a model for inpainting, upscaling or depth; take the ordinary one"
        )
    if unet.out_channels != latent_channels:
        raise UserError(
            f"model {name!r}: its UNet gives {unet.out_channels} channels where latents have {latent_channels}: it "
            "predicts more than noise, or the VAE is another model's"
        )
    if not any(".attn2." in processor for processor in pipe.unet.attn_processors):
        raise UserError(f"model {name!r}: its UNet has no cross-attention, so no prompt can reach it")
    for entry in ("class_embed_type", "num_class_embeds", "time_cond_proj_dim", "encoder_hid_dim_type"):
        if unet.get(entry) is not None:
            raise UserError(f"model {name!r}: its UNet needs more than a prompt ({entry} is {unet[entry]!r})")
    wanted = "text_time" if hasattr(pipe, "text_encoder_2") else None
    if unet.addition_embed_type != wanted:
        raise UserError(
            f"model {name!r}: its UNet's addition_embed_type is {unet.addition_embed_type!r}, which a "
            f"{type(pipe).__name__} cannot serve (it has {wanted!r}); the UNet is another kind of model's"
        )


def _check_latents(name: str, vae: Any) -> None:
    for entry in ("latents_mean", "latents_std", "shift_factor"):
        if vae.get(entry):
            raise UserError(
                f"model {name!r}: its VAE shifts and scales latents by statistics of its own ({entry}), which is not "
                "supported; take a model with an ordinary VAE, such as SD-1.5 or SDXL"
            )


def _check_tokens(name: str, part: str, tokenizer: Any, encoder_part: str, encoder: Any) -> None:
    sizes = (
        ("vocabulary", len(tokenizer), encoder.vocab_size, "tokens"),
        ("longest text", tokenizer.model_max_length, encoder.max_position_embeddings, "tokens"),
    )
    for what, own, read, unit in sizes:
        if own > read:
            raise UserError(
                f"model {name!r}: its {part} is another model's: its {what} has {own} {unit}, the {encoder_part} "
                f"reads {read}; take both from one model"
            )
    if len(tokenizer) < encoder.vocab_size:
        logger.warning(
            "model %s: its %s knows %d of the %s's %d tokens; is it another model's?",
            *(name, part, len(tokenizer), encoder_part, encoder.vocab_size),
        )


def _check_text_states(name: str, pipe: StableDiffusionPipeline, encoders: list[str]) -> None:
    width = sum(getattr(pipe, part).config.hidden_size for part in encoders)
    read = pipe.unet.config.cross_attention_dim
    for channels in read if isinstance(read, (list, tuple)) else (read,):
        if channels != width:
            raise UserError(
                f"model {name!r}: its UNet reads text states of {channels} channels, those of its "
                f"{' and '.join(encoders)} have {width}: "
                "parts of two models; take both from one (SD-1.x has 768, SD-2.x 1024, SDXL 2048)"
            )
    lengths = {getattr(pipe, part.replace("text_encoder", "tokenizer")).model_max_length for part in encoders}
    if len(lengths) > 1:
        raise UserError(
            f"model {name!r}: its tokenizers cut texts at {' and '.join(map(str, sorted(lengths)))} tokens: their "
            "text states do not go together; take both from one model"
        )


def _check_pooled(name: str, pipe: StableDiffusionPipeline) -> None:
    """SDXL's sizes and pooled text enter with the time: 6 numbers and one vector (a refiner has 5)."""
    unet, pooled = pipe.unet.config, pipe.text_encoder_2.config.projection_dim
    given = 6 * unet.addition_time_embed_dim + pooled
    if given != unet.projection_class_embeddings_input_dim:
        raise UserError(
            f"model {name!r}: its UNet reads {unet.projection_class_embeddings_input_dim} channels of sizes and pooled "
            f"text, but gets {given}: a refiner, or its text_encoder_2 is another model's; take a base model"
        )
