"""The demo models' networks, with random weights: Stable Diffusion 1.x and FLUX.1 in every place, only narrower."""

from dataclasses import dataclass
from typing import Any

from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxTransformer2DModel,
    T2IAdapter,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LATENT_CHANNELS = 8
"""Twice as many as Stable Diffusion's: a small autoencoder keeps flat colours and outlines only so."""
PATCH = 2
"""Side, in latents, of what is one token to a transformer."""
ROTATED_CHANNELS = (8, 12, 12)
"""Of a transformer's head, by the axis whose place turns them; the first axis is the same everywhere in a picture."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How wide the networks are; what they consist of is the same at every size."""

    unet_channels: tuple[int, int, int, int]
    """Channels of the UNet at 1, 1/2, 1/4 and 1/8 of the latent side."""
    vae_channels: tuple[int, int, int, int]
    """Channels of the autoencoder at 1, 1/2, 1/4 and 1/8 of the picture's side."""
    condition_channels: tuple[int, int, int, int]
    """Channels through which a ControlNet brings its picture down to the latent side."""
    text_width: int
    text_layers: int
    heads: int
    """Attention heads of the UNet and of the text encoder."""
    norm_groups: int
    adapter_blocks: int
    """Residual blocks of a T2I-Adapter per resolution."""
    tiny_channels: int
    """Channels of the tiny autoencoder for previews."""
    transformer_heads: int
    """Attention heads of the transformer, each as wide as `ROTATED_CHANNELS` together."""
    transformer_blocks: tuple[int, int]
    """Double blocks, which keep text and picture apart, and the single blocks after them."""
    control_blocks: tuple[int, int]
    """The same of its ControlNet."""
    max_tokens: int = 32


STAND_IN = Size(
    unet_channels=(16, 16, 24, 24),
    vae_channels=(8, 8, 16, 16),
    condition_channels=(8, 8, 8, 16),
    text_width=32,
    text_layers=1,
    heads=2,
    norm_groups=8,
    adapter_blocks=1,
    tiny_channels=4,
    transformer_heads=1,
    transformer_blocks=(1, 2),
    control_blocks=(1, 1),
)
"""About a million weights, for tests and for the time before the training."""

DEMO = Size(
    unet_channels=(48, 96, 96, 96),
    vae_channels=(16, 32, 48, 64),
    condition_channels=(8, 16, 32, 48),
    text_width=64,
    text_layers=2,
    heads=4,
    norm_groups=16,
    adapter_blocks=1,
    tiny_channels=16,
    transformer_heads=5,
    transformer_blocks=(2, 7),
    control_blocks=(1, 2),
)
"""The size that is trained and ships."""

SIZES = {"stand-in": STAND_IN, "demo": DEMO}


def build_unet(size: Size, sample_size: int) -> UNet2DConditionModel:
    """SD-1.x's UNet: 16 self-attention layers, 0-5 on the way down, 6 in the middle, 7-15 on the way up.

    Args:
        sample_size: side of the latents that the model is trained on, written to its config as the default.
    """
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=size.unet_channels,
        layers_per_block=2,
        cross_attention_dim=size.text_width,
        attention_head_dim=size.heads,  # the number of heads, as in SD's own config
        norm_num_groups=size.norm_groups,
    )


def build_vae(size: Size, sample_size: int) -> AutoencoderKL:
    """An autoencoder with factor 8; the scaling factor is measured after its training.

    Args:
        sample_size: side of the pictures in pixels, written to the config.
    """
    return AutoencoderKL(
        sample_size=sample_size,
        down_block_types=("DownEncoderBlock2D",) * len(size.vae_channels),
        up_block_types=("UpDecoderBlock2D",) * len(size.vae_channels),
        block_out_channels=size.vae_channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        scaling_factor=1.0,
    )


def build_tiny_vae(size: Size) -> AutoencoderTiny:
    """A tiny autoencoder for the latents of `build_vae`, as TAESD is for Stable Diffusion's."""
    channels, blocks = (size.tiny_channels,) * len(size.vae_channels), (1,) * len(size.vae_channels)
    return AutoencoderTiny(
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks,
        latent_channels=LATENT_CHANNELS,
    )


def build_text_encoder(size: Size, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text transformer for the given tokenizer's ids and length."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.text_width,
        intermediate_size=4 * size.text_width,
        projection_dim=size.text_width,
        num_hidden_layers=size.text_layers,
        num_attention_heads=size.heads,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_scheduler() -> DDIMScheduler:
    """DDIM over Stable Diffusion's betas, for a network that predicts the velocity."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


def build_controlnet(size: Size, unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet that starts as a copy of the UNet's way down and adds nothing until it is trained."""
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=size.condition_channels)


def build_t2i_adapter(size: Size, image_factor: int) -> T2IAdapter:
    """A T2I-Adapter for RGB conditions.

    Args:
        image_factor: pixels per latent, the autoencoder's factor.
    """
    return T2IAdapter(
        in_channels=3,
        channels=list(size.unet_channels),
        num_res_blocks=size.adapter_blocks,
        downscale_factor=image_factor,
        adapter_type="full_adapter",
    )


def build_transformer(size: Size) -> FluxTransformer2DModel:
    """FLUX.1's transformer over the latents of `build_vae` and the text of `build_text_encoder`."""
    return FluxTransformer2DModel(**_flux_config(size, size.transformer_blocks))


def build_flux_controlnet(size: Size) -> FluxControlNetModel:
    """A ControlNet for `build_transformer`, for pictures that the autoencoder encodes; it adds nothing untrained."""
    return FluxControlNetModel(**_flux_config(size, size.control_blocks))


def _flux_config(size: Size, blocks: tuple[int, int]) -> dict[str, Any]:
    return {
        "patch_size": 1,  # as in FLUX's own config: the pipeline makes the patches
        "in_channels": LATENT_CHANNELS * PATCH**2,
        "num_layers": blocks[0],
        "num_single_layers": blocks[1],
        "attention_head_dim": sum(ROTATED_CHANNELS),
        "num_attention_heads": size.transformer_heads,
        "joint_attention_dim": size.text_width,
        "pooled_projection_dim": size.text_width,
        "axes_dims_rope": ROTATED_CHANNELS,
    }


def build_flow_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Euler's steps of equal length from noise to the picture."""
    return FlowMatchEulerDiscreteScheduler()
