"""How large a recorded source gets, and what its step needs of a GPU, by preset: counted on shapes without values.

``python benchmarks/cache_sizes.py``
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from gpu_memory import count_memory, peak_bytes
from table import write_table
from torch.utils._pytree import tree_map_only
from without_values import META, empty_networks

from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.recorded import MemorySource, StepRecord
from masactrl_video.attention.use import control_attention
from masactrl_video.cache.quantize import packed_bytes_of
from masactrl_video.demo.folder import MODELS, WEIGHTS
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.branches import UNGUIDED, Branch
from masactrl_video.model.backbones.chroma.backbone import ChromaText
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.flux.packing import places
from masactrl_video.model.backbones.flux2.prompts import Flux2Text
from masactrl_video.model.backbones.joint.packing import PATCH
from masactrl_video.model.backbones.joint.ragged import RaggedText
from masactrl_video.model.backbones.pixart.backbone import PixArtText
from masactrl_video.model.backbones.references import JoinedReferences
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.backbones.sd3.backbone import SD3Text
from masactrl_video.model.backbones.steps import StepClock
from masactrl_video.settings.presets import preset_names, read_preset, resolve
from masactrl_video.settings.settings import Settings

TEXT_TOKENS = 512
"""Of a prompt of FLUX.1."""
FLUX: dict[str, Any] = {"in_channels": 64, "num_layers": 19, "num_single_layers": 38, "joint_attention_dim": 4096}


@dataclass(frozen=True)
class Shape:
    """A preset's denoiser without values, and the pictures that it was made for."""

    denoiser: torch.nn.Module
    size_px: tuple[int, int]
    latent_factor: int
    latent_channels: int
    gpu_bytes: Callable[[ControlPlan, Sequence[Branch]], tuple[int, int]] | None = None
    """Weights on the GPU while frames are denoised, and what a step holds beside them; None: it runs on a CPU."""


def demo() -> Shape:
    """The demo model, by its configuration."""
    with init_empty_weights():
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(str(WEIGHTS / "unet")))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(str(WEIGHTS / "vae")))
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    side = unet.config.sample_size * factor
    return Shape(unet, (side, side), factor, unet.config.in_channels)


def demo_dit() -> Shape:
    """The demo's transformer, by its configuration."""
    with init_empty_weights():
        config = FluxTransformer2DModel.load_config(str(MODELS["demo-dit"] / "transformer"))
        network = FluxTransformer2DModel.from_config(config)
    return replace(demo(), denoiser=network)


def stable_diffusion() -> Shape:
    """Stable Diffusion 1.x, with a ControlNet, guided."""

    def gpu_bytes(plan: ControlPlan, branches: Sequence[Branch]) -> tuple[int, int]:
        found = count_memory("SD-1.5", 512, 512, frames=1)
        return found["denoising_weights"], found["step"]

    return Shape(empty_networks("SD-1.5")[0], (512, 512), 8, 4, gpu_bytes)


def flux(guidance: bool) -> Shape:
    """FLUX.1, without a ControlNet."""
    with init_empty_weights():
        network = FluxTransformer2DModel(**FLUX, guidance_embeds=guidance)
    network = network.to(META, torch.bfloat16)
    size_px = (1024, 1024)

    def gpu_bytes(plan: ControlPlan, branches: Sequence[Branch]) -> tuple[int, int]:
        return sum(p.nbytes for p in network.parameters()), peak_bytes_of_flux(network, plan, size_px)

    return Shape(network, size_px, 8, 16, gpu_bytes)


@dataclass(frozen=True)
class Transformer:
    """A real transformer of another family."""

    name: str
    """Of its class."""
    arguments: dict[str, Any]
    text: Callable[[torch.Tensor], TextCondition]
    """Hidden states of the branches → what a call takes of the prompts."""
    text_tokens: int
    """Of a prompt: the most that the family reads, or what fills it up."""
    text_channels: int
    size_px: tuple[int, int] = (1024, 1024)

    def shape(self) -> Shape:
        """Without a ControlNet."""
        with init_empty_weights():
            network = getattr(diffusers, self.name)(**self.arguments)
        network = network.to(META, torch.bfloat16)

        def gpu_bytes(plan: ControlPlan, branches: Sequence[Branch]) -> tuple[int, int]:
            return sum(p.nbytes for p in network.parameters()), self._step_bytes(network, plan, branches)

        return Shape(network, self.size_px, 8, self.latent_channels, gpu_bytes)

    @property
    def latent_channels(self) -> int:
        """Those of the autoencoder."""
        return {"PixArtTransformer2DModel": 4, "Flux2Transformer2DModel": 32}.get(self.name, 16)

    def _step_bytes(self, network: torch.nn.Module, plan: ControlPlan, branches: Sequence[Branch]) -> int:
        """The most that a controlled step of one frame holds beside weights and source."""
        height, width = (side // 8 for side in self.size_px)
        keys, values = (
            {layer.name: _empty(layer, len(branches), (height, width)) for layer in plan.layers} for _ in range(2)
        )
        source = MemorySource(branches, tuple(keys))
        source.add(500.0, StepRecord(keys, values))
        text = self.text(torch.zeros(len(branches), self.text_tokens, self.text_channels, dtype=torch.bfloat16))
        clock = StepClock()
        pipe = SimpleNamespace(config=SimpleNamespace(expand_timesteps=False))
        model: Any = SimpleNamespace(denoiser=network, clock=clock, pipe=pipe, references=JoinedReferences())
        latents = torch.zeros(1, self.latent_channels, height, width, dtype=torch.bfloat16)

        def step() -> torch.Tensor:
            with clock.at(0):
                return backbone_of(network).predict(model, latents, torch.tensor(500.0), text, None, 0, 1)

        with ExitStack() as stack:
            controlled = control_attention(network, source, replace(plan, steps=(0,)), branches=branches, clock=clock)
            stack.enter_context(controlled)
            without = network.register_forward_pre_hook(_without_values, with_kwargs=True)  # behind the watchers
            stack.callback(without.remove)
            return peak_bytes(step)


def _empty(layer: AttentionLayer, branches: int, latent_size: tuple[int, int]) -> torch.Tensor:
    """Keys of a layer, without values."""
    height, width = layer.grid(latent_size)
    return torch.empty(branches, height * width, layer.key_channels, device=META, dtype=torch.bfloat16)


def _without_values(network: torch.nn.Module, args: Any, kwargs: Any) -> Any:
    return tree_map_only(torch.Tensor, lambda tensor: tensor.to(META), (args, kwargs))


def sd3(heads: int, **arguments: Any) -> Transformer:
    """Stable Diffusion 3 and 3.5: a layer for each head."""
    shape = {"num_layers": heads, "num_attention_heads": heads, "caption_projection_dim": 64 * heads}

    def text(hidden: torch.Tensor) -> SD3Text:
        return SD3Text(hidden, torch.zeros(len(hidden), 2048, dtype=hidden.dtype))

    return Transformer("SD3Transformer2DModel", shape | {"pooled_projection_dim": 2048} | arguments, text, 333, 4096)


def ragged(hidden: torch.Tensor) -> RaggedText:
    """Prompts of families with a call for each branch."""
    return RaggedText.of(list(hidden))


def flux2(hidden: torch.Tensor) -> Flux2Text:
    """Prompts of FLUX.2, with a scale for those that read one."""
    return Flux2Text(hidden, torch.ones(len(hidden)))


Z_IMAGE = Transformer("ZImageTransformer2DModel", {}, ragged, 512, 2560)
TRANSFORMERS = {
    "sd3-medium": sd3(24, pos_embed_max_size=192),
    "sd35-large": sd3(38, pos_embed_max_size=192, qk_norm="rms_norm"),
    "sd35-medium": sd3(24, pos_embed_max_size=384, qk_norm="rms_norm", dual_attention_layers=tuple(range(13))),
    "z-image-turbo": Z_IMAGE,
    "z-image": Z_IMAGE,
    "qwen-image": Transformer("QwenImageTransformer2DModel", {}, ragged, 512, 3584, (1328, 1328)),
    "flux2-dev": Transformer("Flux2Transformer2DModel", {}, flux2, 512, 15360),
    "flux2-klein-4b": Transformer(
        "Flux2Transformer2DModel",
        {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680}
        | {"guidance_embeds": False},
        flux2,
        512,
        7680,
    ),
    "flux2-klein-9b-kv": Transformer(
        "Flux2Transformer2DModel",
        {"num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32, "joint_attention_dim": 12288}
        | {"guidance_embeds": False},
        flux2,
        512,
        12288,
    ),
    "chroma": Transformer(
        "ChromaTransformer2DModel",
        {},
        lambda hidden: ChromaText(hidden, torch.ones(hidden.shape[:2], dtype=hidden.dtype)),
        512,
        4096,
    ),
    "pixart-sigma": Transformer(
        "PixArtTransformer2DModel",
        {"caption_channels": 4096, "use_additional_conditions": False},
        lambda hidden: PixArtText(hidden, torch.ones(hidden.shape[:2])),
        300,
        4096,
    ),
    "wan21-t2i": Transformer(
        "WanTransformer3DModel",
        {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960},
        ragged,
        512,
        4096,
        (480, 832),
    ),
}

SHAPES: dict[str, Callable[[], Shape]] = {
    "demo": demo,
    "demo-dit": demo_dit,
    **dict.fromkeys(("anything-v4", "sd14-paper", "sd15-controlnet", "sd15-t2i-adapter"), stable_diffusion),
    "flux1-dev": lambda: flux(guidance=True),
    "flux1-schnell": lambda: flux(guidance=False),
    **{name: transformer.shape for name, transformer in TRANSFORMERS.items()},
}
"""By preset; one that is not here is not counted, which the table says."""


def peak_bytes_of_flux(network: FluxTransformer2DModel, plan: ControlPlan, size_px: tuple[int, int]) -> int:
    """The most that a controlled step of one frame holds beside weights and source."""
    grid = tuple(side // 8 // PATCH for side in size_px)
    tokens, config, dtype = grid[0] * grid[1], network.config, torch.bfloat16
    keys, values = (
        {layer.name: torch.empty(1, tokens, layer.key_channels, device=META, dtype=dtype) for layer in plan.layers}
        for _ in range(2)
    )
    source = MemorySource(UNGUIDED, tuple(keys))
    source.add(500.0, StepRecord(keys, values))
    one_step = replace(plan, steps=(0,))
    call: dict[str, torch.Tensor] = {  # with values, of which the watchers read some
        "hidden_states": torch.zeros(1, tokens, config.in_channels, dtype=dtype),
        "encoder_hidden_states": torch.zeros(1, TEXT_TOKENS, config.joint_attention_dim, dtype=dtype),
        "pooled_projections": torch.zeros(1, config.pooled_projection_dim, dtype=dtype),
        "timestep": torch.full([1], 0.5),
        "img_ids": places((grid[0], grid[1])),
        "txt_ids": torch.zeros(TEXT_TOKENS, 3),
    }
    if config.guidance_embeds:
        call["guidance"] = torch.ones(1)
    with ExitStack() as stack:
        stack.enter_context(control_attention(network, source, one_step, branches=UNGUIDED))
        without = network.register_forward_pre_hook(  # behind the watchers
            lambda _, args, kwargs: (args, {name: tensor.to(META) for name, tensor in kwargs.items()}), with_kwargs=True
        )
        stack.callback(without.remove)
        return peak_bytes(lambda: network(**call))


def count(name: str, **changes: Any) -> dict[str, str]:
    """A row of the table, for a preset with some settings changed."""
    settings = resolve(read_preset(name), {"clip": "clip.mp4", "prompt": "a bear", **changes})
    shape = SHAPES[name]()
    plan = _plan(settings, shape)
    rows = backbone_of(shape.denoiser).branches(shape.denoiser, settings.guidance_scale)
    branches = len(rows)
    latent_size = tuple(side // shape.latent_factor for side in shape.size_px)
    itemsize = 4 if shape.gpu_bytes is None else 2
    exact, small = 0, 0
    for layer in plan.layers:
        height, width = layer.grid((latent_size[0], latent_size[1]))
        channels = 2 * branches * layer.key_channels
        exact += packed_bytes_of(height * width * channels, channels, "exact", itemsize)
        small += packed_bytes_of(height * width * channels, channels, "int8", itemsize)
    levels = (settings.num_inference_steps + 2) * shape.latent_channels * latent_size[0] * latent_size[1] * itemsize
    weights, step = shape.gpu_bytes(plan, rows) if shape.gpu_bytes is not None else (None, None)
    steps = len(plan.steps)
    return {
        "preset": ", ".join([name, *(f"{key} {value}" for key, value in changes.items() if value is not None)]),
        "picture": f"{shape.size_px[1]}×{shape.size_px[0]}",
        "layers": f"{len(plan.layers)} of {len(backbone_of(shape.denoiser).layers(shape.denoiser))}",
        "steps": f"{steps} of {settings.num_inference_steps}",
        "branches": str(branches),
        "a step, MB": f"{exact / 1e6:.1f}",
        "in int8, MB": f"{small / 1e6:.1f}",
        "the source, GB": f"{steps * exact / 1e9:.2f}",
        "in int8, GB": f"{steps * small / 1e9:.2f}",
        "live, MB": f"{levels / 1e6:.1f}",
        "weights, GB": "–" if weights is None else f"{weights / 1e9:.1f}",
        "step and two of the cache, GB": "–" if step is None else f"{(step + 2 * exact) / 1e9:.2f}",
    }


def _plan(settings: Settings, shape: Shape) -> ControlPlan:
    return plan_control(
        shape.denoiser,
        settings.num_inference_steps,
        masa_step=settings.masa_step,
        masa_layer=settings.masa_layer,
        masa_steps=settings.masa_steps,
        masa_layers=settings.masa_layers,
    )


def main() -> None:
    """Count and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"), help="table to write")
    arguments = parser.parse_args()
    counted = [name for name in preset_names() if name in SHAPES]
    rows = [count(name) for name in counted]
    rows.append(count("flux1-dev", masa_layers=None, masa_layer=0))
    missing = [name for name in preset_names() if name not in SHAPES]
    rows += [{**dict.fromkeys(rows[0], "not counted"), "preset": name} for name in missing]
    write_table(arguments.output, "What a recorded source takes, and its step, by preset: counted, not measured", rows)


if __name__ == "__main__":
    main()
