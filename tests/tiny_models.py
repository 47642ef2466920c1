"""Tiny real networks with random weights, in the layouts of Stable Diffusion 1.x and XL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

import masactrl_video

TOKENIZER = Path(masactrl_video.__file__).parent / "demo" / "weights" / "tokenizer"

TEXT_WIDTH = 16


def sd1_unet() -> UNet2DConditionModel:
    """SD-1.x: 16 self-attention layers, four levels of which the lowest has attention only in the middle."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=2,
        norm_num_groups=4,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    ).eval()


def sd2_unet() -> UNet2DConditionModel:
    """SD-2.x: SD-1.x's layout with linear projections and another number of heads at each level."""
    torch.manual_seed(0)
    config = dict(sd1_unet().config) | {
        "attention_head_dim": (1, 2, 4, 4),
        "use_linear_projection": True,
        "upcast_attention": True,
    }
    return UNet2DConditionModel.from_config(config).eval()


def sdxl_unet() -> UNet2DConditionModel:
    """SDXL: three levels, none of the attention at the first, several transformer blocks at the others."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16, 16),
        layers_per_block=2,
        norm_num_groups=4,
        cross_attention_dim=2 * TEXT_WIDTH,
        attention_head_dim=(1, 2, 2),
        transformer_layers_per_block=(1, 2, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + TEXT_WIDTH,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    ).eval()


def vae() -> AutoencoderKL:
    """A VAE of factor 8."""
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
        latent_channels=4,
        sample_size=128,
    ).eval()


def taesd(**changes: Any) -> AutoencoderTiny:
    """A tiny autoencoder for the latents of `vae`."""
    torch.manual_seed(5)
    blocks = {"encoder_block_out_channels": (4,) * 4, "decoder_block_out_channels": (4,) * 4}
    return AutoencoderTiny(
        **{**blocks, "num_encoder_blocks": (1,) * 4, "num_decoder_blocks": (1,) * 4, **changes}
    ).eval()


def _text_config() -> CLIPTextConfig:
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def scheduler(**changes: Any) -> DDIMScheduler:
    """DDIM with Stable Diffusion's noise levels."""
    settings: dict[str, Any] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }
    return DDIMScheduler(**settings | changes)


def sd1_pipeline() -> StableDiffusionPipeline:
    """A whole tiny SD-1.x pipeline."""
    torch.manual_seed(2)
    pipe = StableDiffusionPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(_text_config()).eval(),
        tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER),
        unet=sd1_unet(),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sd2_pipeline() -> StableDiffusionPipeline:
    """A whole tiny SD-2.x pipeline, which predicts v."""
    pipe = sd1_pipeline()
    pipe.register_modules(unet=sd2_unet(), scheduler=scheduler(prediction_type="v_prediction"))
    return pipe


def sdxl_pipeline() -> StableDiffusionXLPipeline:
    """A whole tiny SDXL pipeline."""
    torch.manual_seed(2)
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    pipe = StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(_text_config()).eval(),
        text_encoder_2=CLIPTextModelWithProjection(_text_config()).eval(),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=sdxl_unet(),
        scheduler=scheduler(),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def controlnet(unet: UNet2DConditionModel, seed: int = 3) -> ControlNetModel:
    """A ControlNet of `unet` whose zero convolutions are not zero, so that it has an effect and sees its picture."""
    torch.manual_seed(seed)
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8, 8)).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.startswith(
                ("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out")
            ):
                parameter.normal_(std=0.3)
        net.controlnet_cond_embedding.conv_out.weight.mul_(30)
    return net


def adapter(unet: UNet2DConditionModel, in_channels: int = 3, seed: int = 4) -> T2IAdapter:
    """A T2I-Adapter with the features that `unet` takes."""
    torch.manual_seed(seed)
    xl = unet.config.addition_embed_type == "text_time"
    channels = list(unet.config.block_out_channels)
    net = T2IAdapter(
        in_channels=in_channels,
        channels=[*channels, channels[-1]] if xl else channels,
        num_res_blocks=1,
        downscale_factor=16 if xl else 8,
        adapter_type="full_adapter_xl" if xl else "full_adapter",
    ).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0)
    return net
