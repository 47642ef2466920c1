"""Tiny real networks with random weights, in the layout of FLUX.1."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxPipeline,
    FluxTransformer2DModel,
)
from tiny_models import TOKENIZER, _text_config
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerFast, T5Config, T5EncoderModel

WORDS = ["a", "bear", "panda", "frog", "in", "the", "meadow", "snow", "on", "beach", "red", "blue", "shirt"]
TOKENS = 12
"""Of a prompt."""


def transformer(*, guidance: bool = False, layers: tuple[int, int] = (2, 3)) -> FluxTransformer2DModel:
    """Two blocks that keep text and picture apart, and three that do not."""
    torch.manual_seed(0)
    network = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=layers[0],
        num_single_layers=layers[1],
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance,
    ).eval()
    with torch.no_grad():  # as trained: an effect of the attention that is not lost in rounding
        for name, parameter in network.named_parameters():
            if "to_q" in name or "to_k" in name:
                parameter.mul_(3)
    return network


def vae() -> AutoencoderKL:
    """A VAE of factor 8 with a shift."""
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
        latent_channels=4,
        sample_size=128,
        scaling_factor=0.36,
        shift_factor=0.11,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()


def t5_tokenizer() -> PreTrainedTokenizerFast:
    """Words as T5 has them: an end, and no beginning."""
    known = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in WORDS)]
    own = Tokenizer(models.Unigram([(word, -1.0) for word in known], unk_id=2))
    own.normalizer = normalizers.Lowercase()
    own.pre_tokenizer = pre_tokenizers.Metaspace()
    own.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=own, model_max_length=TOKENS, **special)


def t5() -> T5EncoderModel:
    """A T5 encoder of one layer."""
    torch.manual_seed(3)
    config = T5Config(vocab_size=3 + len(WORDS), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return T5EncoderModel(config).eval()


def scheduler(**changes: Any) -> FlowMatchEulerDiscreteScheduler:
    """Noise levels that depend on the size, as dev's."""
    return FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, "use_dynamic_shifting": True, **changes})


def pipeline(*, guidance: bool = False, **changes: Any) -> FluxPipeline:
    """A whole tiny FLUX.1; with `guidance`, of distilled guidance (dev)."""
    torch.manual_seed(2)
    pipe = FluxPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(_text_config()).eval(),
        tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer(guidance=guidance),
        scheduler=scheduler(**changes),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def controlnet(network: FluxTransformer2DModel, *, seed: int = 5, modes: int | None = None) -> FluxControlNetModel:
    """A ControlNet of `network` that has an effect."""
    torch.manual_seed(seed)
    config = dict(network.config) | {"num_layers": 1, "num_single_layers": 2, "num_mode": modes}
    net = FluxControlNetModel.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.startswith(("controlnet_blocks", "controlnet_single_blocks", "controlnet_x_embedder")):
                parameter.normal_(std=0.3)
    return net
