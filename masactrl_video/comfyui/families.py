"""Families of transformers in ComfyUI: where their layers are, and where the picture stands among the tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from masactrl_video.comfyui.calls import Call
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import LayerKind
from masactrl_video.model.backbones.joint.places import grid_places


@dataclass(frozen=True)
class JointLayer:
    """The attention of one block of a transformer, named as diffusers names it."""

    index: int
    """Position in forward order, from 0."""
    block: str
    name: str
    key_channels: int
    downscale: int
    """Side of a token in latents."""
    kind: LayerKind
    place: tuple[str, int]
    """As ComfyUI names the block when another node replaces it."""
    module: Any = field(repr=False, compare=False)
    """ComfyUI's module whose call has one attention, the first in it: the block, or its attention."""
    keys_by: Any = field(repr=False, compare=False)
    """The module whose `weight` makes its keys, among others."""

    @property
    def is_outermost(self) -> bool:
        """No block runs alone."""
        return False

    def grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the tokens for latents of `latent_size` (height, width); ComfyUI fills them up."""
        height, width = latent_size
        return -(-height // self.downscale), -(-width // self.downscale)


@dataclass(frozen=True)
class Blocks:
    """Blocks of one kind in a network."""

    part: str
    """Of the network: a list of blocks."""
    attention: str
    """In a block, the module whose call has the attention; empty: the block itself."""
    keys_by: str
    """In a block, the module whose weights make keys."""
    turns: str
    """Argument of that call which has the places of all tokens."""
    ours: str
    """The part's name in diffusers."""
    ours_attention: str = "attn"
    """The attention's name in a block in diffusers."""
    kind: LayerKind = "joint"
    replaced_as: str = ""
    """What other nodes call a block of this kind when they replace it."""


@dataclass(frozen=True)
class Family:
    """What tells one family of transformers from another."""

    title: str
    network: str
    """ComfyUI's class."""
    blocks: tuple[Blocks, ...]
    embedder: str
    """Of the network, what makes the places of tokens."""
    blocks_of_words: str
    """Part, as diffusers names it, whose attention to words makes the object masks."""
    calls_each_branch: bool = False
    """See `ComfyNetwork`."""
    from_middle: bool = False
    """Whether rows and columns are counted from the middle of the picture."""
    behind_prompt: bool = False
    """Whether a picture's place depends on how long its prompt is."""

    def check(self, network: Any) -> None:
        """See that a network is of the kind that is known.

        Raises:
            UserError: it is not.
        """

    def check_call(self, call: Call) -> None:
        """See that a call has one picture.

        Raises:
            UserError: it has not.
        """
        if call.x.ndim == 5 and call.x.shape[2] != 1:
            raise UserError(
                f"latent: it has {call.x.shape[2]} frames or layers in one picture; give latents of single pictures"
            )

    def layers(self, network: Any) -> tuple[JointLayer, ...]:
        """All layers in forward order."""
        return tuple(
            JointLayer(
                index,
                f"{kind.ours}.{number}",
                f"{kind.ours}.{number}.{kind.ours_attention}",
                self.channels(network),
                int(network.patch_size),
                kind.kind,
                (kind.replaced_as, number),
                block.get_submodule(kind.attention),
                block.get_submodule(kind.keys_by),
            )
            for index, (kind, number, block) in enumerate(self._all(network))
        )

    def turns_of(self, layer: JointLayer) -> str:
        """The argument of a layer's module that has the places of all tokens."""
        part = layer.block.rpartition(".")[0]
        return next(kind.turns for kind in self.blocks if kind.ours == part)

    def _all(self, network: Any) -> Iterator[tuple[Blocks, int, Any]]:
        for kind in self.blocks:
            for number, block in enumerate(getattr(network, kind.part)):
                yield kind, number, block

    def channels(self, network: Any) -> int:
        """Of a layer's keys, all heads together."""
        return int(network.hidden_size)

    def text_before(self, given: Mapping[str, Any], known: int | None) -> int | None:
        """So many tokens stand before the picture's, as far as the arguments of a layer's module say it.

        Args:
            known: what the layer before it had.
        """
        return int(given["txt"].shape[1]) if "txt" in given else known

    def before(self, network: Any, layer: JointLayer, told: int | None, total: int, tokens: int) -> int:
        """The same, of `total` tokens of which `tokens` are the picture's."""
        return total - tokens if told is None else told

    def places(self, grid: tuple[int, int], axes: int) -> tuple[torch.Tensor, bool]:
        """(tokens, axes) of a grid (height, width), and whether they start where the picture's first token is."""
        middle = (grid[0] // 2, grid[1] // 2) if self.from_middle else (0, 0)
        rows_columns = grid_places(grid, (-middle[0], -middle[1]))
        ids = torch.zeros(len(rows_columns), axes)
        ids[:, 1:3] = rows_columns
        return ids, not self.from_middle


class _Flux(Family):
    """FLUX.1 and FLUX.2."""


class _Qwen(Family):
    """Qwen-Image."""

    def channels(self, network: Any) -> int:
        """See `Family`."""
        return int(network.inner_dim)

    def text_before(self, given: Mapping[str, Any], known: int | None) -> int | None:
        """See `Family`."""
        return int(given["encoder_hidden_states"].shape[1])


class _ZImage(Family):
    """Z-Image: the caption, the picture, and tokens that fill each up."""

    def channels(self, network: Any) -> int:
        """See `Family`."""
        return int(network.dim)

    def check(self, network: Any) -> None:
        """Others of this class have other places."""
        if getattr(network, "pad_tokens_multiple", None) is None:
            raise UserError(
                "model: a NextDiT that does not fill up its tokens (Lumina 2); of this class these nodes take Z-Image "
                "alone, in a ComfyUI that knows it"
            )

    def check_call(self, call: Call) -> None:
        """See `Family`."""
        super().check_call(call)
        if call.named.get("ref_latents"):
            raise UserError("conditioning: it has reference latents (Omni); the nodes take Z-Image without them")

    def before(self, network: Any, layer: JointLayer, told: int | None, total: int, tokens: int) -> int:
        """See `Family`."""
        return total - (tokens + -tokens % int(network.pad_tokens_multiple))


FLUX = _Flux(
    "FLUX",
    "Flux",
    (
        Blocks("double_blocks", "", "img_attn.qkv", "pe", "transformer_blocks", replaced_as="double_block"),
        Blocks("single_blocks", "", "linear1", "pe", "single_transformer_blocks", replaced_as="single_block"),
    ),
    "pe_embedder",
    "transformer_blocks",
)
QWEN = _Qwen(
    "Qwen-Image",
    "QwenImageTransformer2DModel",
    (
        Blocks(
            "transformer_blocks",
            "attn",
            "attn.to_k",
            "image_rotary_emb",
            "transformer_blocks",
            replaced_as="double_block",
        ),
    ),
    "pe_embedder",
    "transformer_blocks",
    calls_each_branch=True,
    from_middle=True,
)
ZIMAGE = _ZImage(
    "Z-Image",
    "NextDiT",
    (
        Blocks("noise_refiner", "attention", "attention.qkv", "freqs_cis", "noise_refiner", "attention", "self"),
        Blocks("layers", "attention", "attention.qkv", "freqs_cis", "layers", "attention"),
    ),
    "rope_embedder",
    "layers",
    behind_prompt=True,
)
FAMILIES: Sequence[Family] = (FLUX, QWEN, ZIMAGE)


def family_of(network: Any) -> Family | None:
    """That of a network, or None."""
    return next((family for family in FAMILIES if family.network == type(network).__name__), None)
