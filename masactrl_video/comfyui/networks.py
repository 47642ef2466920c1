"""What these nodes ask of a network of ComfyUI's, whatever its architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch

from masactrl_video.comfyui.calls import Call
from masactrl_video.comfyui.comfy_types import Options
from masactrl_video.model.backbones.base import AttentionLayer, TextAttention
from masactrl_video.model.backbones.qkv import QKV


class NetworkLayer(AttentionLayer, Protocol):
    """An `AttentionLayer` in ComfyUI."""

    @property
    def keys_by(self) -> Any:
        """The module whose `weight` makes its keys."""


Look = Callable[[NetworkLayer, torch.Tensor, torch.Tensor], None]
"""Is told a layer's key, before any place is put in, and value, each (rows, tokens, channels)."""

Answer = Callable[[NetworkLayer, QKV], torch.Tensor | None]
"""See `PictureAttention`."""


Reading = Mapping[str, Sequence[TextAttention]]
"""Name of a layer → who is told of its attention to the positive prompt; what they give back is not used."""


class ComfyNetwork(Protocol):
    """The denoiser of a MODEL; what is put into its calls is gone when they are over."""

    @property
    def layers(self) -> Sequence[NetworkLayer]:
        """All layers in which the picture attends to itself, in forward order."""

    @property
    def calls_each_branch(self) -> bool:
        """Whether our own render makes a call for each prompt: the negative one's knows the words' whole map."""

    def map_layers(self, divisor: int) -> Sequence[NetworkLayer]:
        """Those whose attention to words makes the object masks: on UNets, grid side = latent side / `divisor`.

        Raises:
            UserError: there are none.
        """

    def looked(
        self, call: Call, wanted: Sequence[NetworkLayer], look: Look, reading: Reading
    ) -> AbstractContextManager[Options]:
        """Inside the context, a call with these options tells of the wanted layers, and is as it would be.

        Raises:
            UserError: on leaving, where nothing was told of one.
        """

    def answered(
        self, call: Call, wanted: Sequence[NetworkLayer], answer: Answer, reading: Reading
    ) -> AbstractContextManager[Options]:
        """Inside the context, in a call with these options the wanted layers attend otherwise.

        Layers that another node answers for are left to it, and the log says so.

        Raises:
            UserError: on leaving, where one was never asked.
        """
