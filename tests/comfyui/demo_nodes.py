"""Nodes of a ComfyUI that makes pictures of the example workflows: the package's own small models in its networks.

They stand for loaders of checkpoints. The denoisers run as ComfyUI's networks; texts and pictures go through the
package's encoders as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import comfy.latent_formats
import comfy.ldm.flux.model
import comfy.model_base
import comfy.model_patcher
import comfy.ops
import comfy.supported_models_base
import torch
from comfy_layout import flux_keys
from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from ldm_layout import unet_keys
from transformers import AutoTokenizer, CLIPTextModel

import masactrl_video

UNET, FLUX = (Path(masactrl_video.__file__).parent / "demo" / name for name in ("weights", "weights_dit"))
CPU = torch.device("cpu")


class Latents(comfy.latent_formats.LatentFormat):
    latent_channels = 8
    scale_factor = 1.0


class SixteenGroups(comfy.ops.disable_weight_init):
    """ComfyUI's UNet has 32 groups everywhere."""

    class GroupNorm(comfy.ops.disable_weight_init.GroupNorm):
        def __init__(self, num_groups: int, *sizes: Any, **more: Any) -> None:
            super().__init__(16, *sizes, **more)


class UnetConfig(comfy.supported_models_base.BASE):
    latent_format = Latents
    unet_extra_config: ClassVar[dict[str, int]] = {"num_heads": 4, "num_head_channels": -1}
    custom_operations = SixteenGroups


class FluxConfig(comfy.supported_models_base.BASE):
    latent_format = Latents
    unet_extra_config: ClassVar[dict[str, int]] = {}
    custom_operations = comfy.ops.disable_weight_init
    sampling_settings: ClassVar[dict[str, float]] = {"shift": 0.0}  # noise levels are even


def unet() -> Any:
    config = UnetConfig(
        {
            "image_size": 16,
            "in_channels": 8,
            "out_channels": 8,
            "model_channels": 48,
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": (1, 2, 2, 2),
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_middle": 1,
            "transformer_depth_output": [1] * 9 + [0] * 3,
            "context_dim": 64,
            "use_spatial_transformer": True,
            "legacy": False,
            "dtype": torch.float32,
        }
    )
    base = comfy.model_base.BaseModel(config, comfy.model_base.ModelType.V_PREDICTION, CPU)
    return filled(base, unet_keys(UNet2DConditionModel.from_pretrained(UNET / "unet"), ""))


def flux() -> Any:
    config = FluxConfig(
        {
            "image_model": "flux",
            "in_channels": 8,
            "out_channels": 8,
            "patch_size": 2,
            "vec_in_dim": 64,
            "context_in_dim": 64,
            "hidden_size": 160,
            "mlp_ratio": 4.0,
            "num_heads": 5,
            "depth": 2,
            "depth_single_blocks": 7,
            "axes_dim": [8, 12, 12],
            "theta": 10000,
            "qkv_bias": True,
            "guidance_embed": False,
            "txt_ids_dims": [],
            "dtype": torch.float32,
        }
    )
    base = comfy.model_base.Flux(config, device=CPU)
    weights = flux_keys(FluxTransformer2DModel.from_pretrained(FLUX / "transformer"))
    wanted = set(base.diffusion_model.state_dict())
    renamed = {key if key in wanted else f"{key.removesuffix('.scale')}.weight": each for key, each in weights.items()}
    return filled(base, renamed)


def filled(base: Any, weights: Mapping[str, torch.Tensor]) -> Any:
    base.diffusion_model.load_state_dict(weights)
    return comfy.model_patcher.ModelPatcher(base, CPU, CPU)


class Text:
    """A CLIP: tokens of one tokenizer, and of a second encoder the summary."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        self.encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
        second = folder / "text_encoder_2"
        self.states = CLIPTextModel.from_pretrained(second) if second.is_dir() else self.encoder

    def tokenize(self, text: str) -> dict[str, list[list[tuple[int, float]]]]:
        found = self.tokenizer(text, padding="max_length", truncation=True)["input_ids"]
        return {"l": [[(number, 1.0) for number in found]]}

    @torch.no_grad()
    def encode_from_tokens_scheduled(self, tokens: Any) -> list[Any]:
        ids = torch.tensor([[number for number, _ in tokens["l"][0]]])
        summary, states = self.encoder(ids).pooler_output, self.states(ids).last_hidden_state
        return [[states, {"pooled_output": summary}]]


class Vae:
    """A VAE of the package's pictures."""

    def __init__(self, folder: Path) -> None:
        self.network = AutoencoderKL.from_pretrained(folder / "vae")

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return (self.network.decode(latents).sample.movedim(1, -1) / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        mean: torch.Tensor = self.network.encode(pictures[..., :3].movedim(-1, 1) * 2 - 1).latent_dist.mean
        return mean


class Node:
    FUNCTION, CATEGORY = "load", "demo"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802, ComfyUI's own name
        return {"required": {}}


class DemoCheckpoint(Node):
    RETURN_TYPES = ("MODEL", "CLIP", "VAE")

    def load(self) -> tuple[Any, ...]:
        return unet(), Text(UNET), Vae(UNET)


class DemoFlux(Node):
    RETURN_TYPES = ("MODEL",)

    def load(self) -> tuple[Any, ...]:
        return (flux(),)


class DemoFluxText(Node):
    RETURN_TYPES = ("CLIP",)

    def load(self) -> tuple[Any, ...]:
        return (Text(FLUX),)


class DemoFluxVae(Node):
    RETURN_TYPES = ("VAE",)

    def load(self) -> tuple[Any, ...]:
        return (Vae(FLUX),)


NODE_CLASS_MAPPINGS = {each.__name__: each for each in (DemoCheckpoint, DemoFlux, DemoFluxText, DemoFluxVae)}
