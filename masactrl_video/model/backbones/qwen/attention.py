"""Attention modules of Qwen-Image, opened up: keys are taken behind their norm and before their rotation.

Rows and columns are counted from the middle of the picture, so that a source of another size stands around the same
middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import QwenImageTransformer2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_qwenimage import QwenDoubleStreamAttnProcessor2_0

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import PictureAttention, TextAttention
from masactrl_video.model.backbones.calls import watching
from masactrl_video.model.backbones.joint import attention as joint
from masactrl_video.model.backbones.joint.attention import Opened
from masactrl_video.model.backbones.joint.calls import timestep_of
from masactrl_video.model.backbones.joint.layers import TokenLayer
from masactrl_video.model.backbones.joint.packing import PATCH
from masactrl_video.model.backbones.joint.places import check_tokens, grid_places, turned
from masactrl_video.model.backbones.joint.projections import Projections, projected
from masactrl_video.model.backbones.steps import DenoiserCall

TITLE = "Qwen-Image"
_ORDER = ("hidden_states", "encoder_hidden_states", "encoder_hidden_states_mask", "timestep", "img_shapes")
"""Of the arguments that may come without their names."""


def all_layers(transformer: QwenImageTransformer2DModel) -> tuple[TokenLayer, ...]:
    """The joint attention of all blocks, in forward order."""
    channels = transformer.config.num_attention_heads * transformer.config.attention_head_dim
    blocks = range(len(transformer.transformer_blocks))
    return tuple(TokenLayer(number, f"transformer_blocks.{number}", channels, PATCH) for number in blocks)


@contextmanager
def attending(
    transformer: QwenImageTransformer2DModel,
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
) -> Iterator[None]:
    """See `Backbone.attending`."""
    call, kinds = _Call(transformer), (QwenDoubleStreamAttnProcessor2_0,)
    with (
        watch_calls(transformer, call.begin),
        joint.attending(transformer, TITLE, all_layers(transformer), kinds, call.opened, to_picture, to_text),
    ):
        yield


class _Call:
    """What the layers must know of the call in progress."""

    def __init__(self, transformer: QwenImageTransformer2DModel) -> None:
        self._places = transformer.pos_embed
        self._grid = (0, 0)

    def begin(self, call: DenoiserCall) -> None:
        """A call of the network begins."""
        height, width = call.latent_size
        self._grid = (height // PATCH, width // PATCH)

    def opened(self, attn: Attention, hidden: torch.Tensor, arguments: Mapping[str, Any]) -> Opened:
        """An `Open`."""
        text, (of_picture, of_text) = arguments["encoder_hidden_states"], arguments["image_rotary_emb"]
        words = projected(attn, text, Projections.of_text(attn), lambda states: turned(states, of_text))
        qkv = projected(
            attn,
            hidden,
            Projections.of_picture(attn),
            lambda states: turned(states, of_picture),
            place=self._place,
            place_at=self._place_at,
            text=words,
        )

        def finished(attended: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            out: torch.Tensor = attn.to_out[0](attended[:, words.tokens :].contiguous())
            out = attn.to_out[1](out) if len(attn.to_out) > 1 else out
            return out, attn.to_add_out(attended[:, : words.tokens].contiguous())

        return Opened(qkv, finished)

    def _place(self, key: torch.Tensor, grid: tuple[int, int], first: tuple[int, int]) -> torch.Tensor:
        check_tokens(key, grid)
        return self._around(key, grid_places(grid, first), grid if first == (0, 0) else self._grid)

    def _place_at(self, key: torch.Tensor, rows_columns: torch.Tensor) -> torch.Tensor:
        return self._around(key, rows_columns, self._grid)

    def _around(self, key: torch.Tensor, rows_columns: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Keys at places (tokens, 2) of a grid, counted from its middle."""
        middle = torch.tensor([side - side // 2 for side in grid])
        places = F.pad((rows_columns.cpu() - middle).float(), (1, 0))
        angles = []
        for axis, size in enumerate(self._places.axes_dim):  # as the network's own tables, which have whole places
            rates = 1.0 / torch.pow(self._places.theta, torch.arange(0, size, 2).to(torch.float32).div(size))
            angles.append(places[:, axis, None] * rates)
        of_token = torch.cat(angles, dim=1)
        return turned(key, torch.polar(torch.ones_like(of_token), of_token).to(key.device))


def watch_calls(
    transformer: QwenImageTransformer2DModel,
    on_begin: Callable[[DenoiserCall], None],
    on_end: Callable[[], None] | None = None,
) -> AbstractContextManager[None]:
    """Inside the context, each call of the transformer is told of (see `watching`)."""
    return watching(transformer, _described, on_begin, on_end)


def _described(args: tuple[Any, ...], kwargs: dict[str, Any]) -> DenoiserCall:
    given = {**dict(zip(_ORDER, args, strict=False)), **kwargs}
    shapes = given["img_shapes"]
    single = all(len(shape) == 1 for shape in shapes) and len({shape[0] for shape in shapes}) == 1
    if not single or shapes[0][0][0] != 1:
        raise UserError(
            "a call of Qwen-Image's transformer had tokens that are no single picture's (another picture beside it): "
            "mutual self-attention is for a picture made from text alone"
        )
    mask = given.get("encoder_hidden_states_mask")
    if mask is not None and not bool(mask.bool().all()):
        raise UserError("a call of Qwen-Image's transformer had prompts of different lengths; make one picture a call")
    timestep = given["timestep"]
    rounding = float(torch.finfo(timestep.dtype).eps)  # a thousandth of the timestep came
    (_, height, width) = shapes[0][0]
    rows, size = given["hidden_states"].shape[0], (height * PATCH, width * PATCH)
    return DenoiserCall(timestep_of(timestep, TITLE) * 1000, rows, size, rounding)
