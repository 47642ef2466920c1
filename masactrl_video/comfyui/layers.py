"""The self-attention layers of a UNet as ComfyUI builds it, in the order in which a call reaches them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from masactrl_video.comfyui.comfy_types import Patcher
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import LayerKind


@dataclass(frozen=True)
class ComfyLayer:
    """An `AttentionLayer` of a UNet in ComfyUI."""

    index: int
    """Position in forward order, from 0: MasaCtrl's layer number (0-15 in SD 1.x)."""
    place: tuple[str, int, int]
    """As ComfyUI names it: input, middle or output, number of the block, number in the block."""
    downscale: int
    key_channels: int
    attention: Any = field(repr=False, compare=False)
    """ComfyUI's module: `to_q`, `to_k`, `to_v`."""
    to_text: Any = field(default=None, repr=False, compare=False)
    """The same of the attention to the prompt, in the same block; None: it has none."""

    @property
    def name(self) -> str:
        """The place as one word."""
        return "{}_{}_{}.attn1".format(*self.place)

    @property
    def block(self) -> str:
        """The place without the number in the block."""
        return "{}_{}".format(*self.place[:2])

    @property
    def kind(self) -> LayerKind:
        """The text is attended to by a layer of its own."""
        return "self"

    @property
    def keys_by(self) -> Any:
        """The module whose `weight` makes its keys."""
        return self.attention.to_k

    @property
    def is_outermost(self) -> bool:
        """Whether it is on the latents' own grid."""
        return self.downscale == 1

    def grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the layer's tokens for latents of `latent_size` (height, width)."""
        height, width = latent_size
        return -(-height // self.downscale), -(-width // self.downscale)  # a strided convolution rounds up


def unet_layers(model: Patcher) -> tuple[ComfyLayer, ...]:
    """All self-attention layers in forward order.

    Raises:
        UserError: its tokens are the frames of a video.
    """
    unet = model.model.diffusion_model
    found = [
        ComfyLayer(
            index,
            place,
            downscale,
            block.attn1.heads * block.attn1.dim_head,
            block.attn1,
            getattr(block, "attn2", None),
        )
        for index, (place, downscale, block) in enumerate(_blocks(unet))
    ]
    if not found:
        raise UserError(f"model: a {type(unet).__name__} has no self-attention; take a UNet that has")
    return tuple(found)


def _blocks(unet: Any) -> Iterator[tuple[tuple[str, int, int], int, Any]]:
    """Place, downscale and module of each transformer block that attends to itself."""
    downscale = 1
    stages = [("input", number, stage) for number, stage in enumerate(unet.input_blocks)]
    stages += [("middle", 0, unet.middle_block)] if unet.middle_block is not None else []
    stages += [("output", number, stage) for number, stage in enumerate(unet.output_blocks)]
    for part, number, stage in stages:
        for module in stage:
            kind = type(module).__name__
            if "Video" in kind or hasattr(module, "time_stack"):
                raise UserError(f"model: it attends over time ({kind}); take one that makes single pictures")
            for place, block in enumerate(getattr(module, "transformer_blocks", ())):
                if not getattr(block, "disable_self_attn", False):
                    yield (part, number, place), downscale, block
            downscale = downscale * 2 if kind == "Downsample" else downscale // 2 if kind == "Upsample" else downscale
