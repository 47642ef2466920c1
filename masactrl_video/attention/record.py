"""Recording a source: its keys and values, and where its object is, at every denoising step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from masactrl_video.attention.masks import normalised, object_attention
from masactrl_video.attention.plan import layers_from
from masactrl_video.attention.recorded import MemorySource, StepRecord
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.unet.calls import UNetCall, watch_calls
from masactrl_video.model.backbones.unet.layers import Layer, layers_between_maps, mask_layers, self_attention_layers
from masactrl_video.model.backbones.unet.processors import Processor, installed


@contextmanager
def record_attention(
    unet: UNet2DConditionModel,
    layers: Sequence[Layer],
    on_step: Callable[[float, StepRecord], None],
    *,
    branches: Sequence[str] = GUIDED,
    object_tokens: Sequence[int] = (),
    map_layers: Sequence[Layer] = (),
    masked_layers: Sequence[Layer] | None = None,
) -> Iterator[None]:
    """Inside the context, every UNet call on one image ends in `on_step(timestep, record)`.

    Args:
        layers: self-attention layers whose keys and values are kept.
        branches: the rows of each call, e.g. `("unconditional", "conditional")`; the object map is taken from the last.
        object_tokens: positions of the object's words in the prompt; empty: no object map.
        map_layers: layers whose cross-attention makes the object map.
        masked_layers: layers that will use it, if others than `layers`; each gets the map as it is when it runs.
    """
    masked_layers = layers if masked_layers is None else masked_layers
    kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    maps: dict[str, torch.Tensor] = {}
    current: list[UNetCall] = []  # the call in progress

    def begin(call: UNetCall) -> None:
        if call.rows != len(branches):
            raise UserError(
                f"a source is one image: a UNet call had {call.rows} rows where {len(branches)} "
                f"({', '.join(branches)}) were expected; record one image at a time, and say with `branches` "
                "whether classifier-free guidance is on"
            )
        kept.clear()
        maps.clear()
        current[:] = [call]

    def end(*_: Any) -> None:
        missing = [layer.name for layer in layers if layer.name not in kept]
        if missing:
            raise RuntimeError(f"the attention of {missing[0]} was not recorded: its processor was never called")
        object_map = normalised([m.float() for m in maps.values()])[0] if maps else None
        keys, values = ({name: pair[i] for name, pair in kept.items()} for i in (0, 1))
        on_step(current[0].timestep, StepRecord(keys, values, object_map, _early_maps(maps, map_layers, masked_layers)))

    before = unet.attn_processors
    processors: dict[str, Processor] = {
        layer.self_processor: KeepKeysValues(layer, before[layer.self_processor], kept) for layer in layers
    }
    if object_tokens:
        for layer in map_layers:
            processors[layer.cross_processor] = KeepObjectMap(
                layer, before[layer.cross_processor], object_tokens, branches, lambda: current[0].latent_size, maps
            )
    with ExitStack() as stack:
        stack.enter_context(installed(unet, processors))
        stack.enter_context(watch_calls(unet, begin))
        stack.callback(unet.register_forward_hook(end).remove)
        yield


def _early_maps(
    maps: Mapping[str, torch.Tensor], map_layers: Sequence[Layer], masked_layers: Sequence[Layer]
) -> dict[str, torch.Tensor]:
    """Name of each layer between the map layers → the object map (height, width) as it was there."""
    early = layers_between_maps(masked_layers, map_layers) if maps else ()
    return {
        layer.name: normalised([maps[other.name].float() for other in map_layers if other.index < layer.index])[0]
        for layer in early
    }


@contextmanager
def record_source(
    unet: UNet2DConditionModel,
    *,
    masa_layer: int = 10,
    branches: Sequence[str] = GUIDED,
    object_tokens: Sequence[int] = (),
    mask_grid_divisor: int = 4,
) -> Iterator[MemorySource]:
    """Record in memory whatever a loaded pipeline denoises inside the context.

    ```python
    with record_source(pipe.unet) as source:
        source_image = pipe(prompt, latents=noise).images[0]
    with use_source(pipe.unet, source):
        image = pipe(other_prompt, latents=noise).images[0]
    ```

    Args:
        masa_layer: keys and values of this self-attention layer and later ones are kept (MasaCtrl's L).
        branches: `GUIDED` with classifier-free guidance (the default of diffusers), else `UNGUIDED`.
        object_tokens: positions of the object's words in the prompt, for the masked mode (see `find_words`).
        mask_grid_divisor: latent side / side of the cross-attention maps that make the object map.

    Raises:
        UserError: more than one image in a call, or a timestep that comes twice.
    """
    all_layers = self_attention_layers(unet)
    layers = layers_from(all_layers, masa_layer)
    source = MemorySource(tuple(branches), tuple(layer.name for layer in layers))
    map_layers = mask_layers(all_layers, mask_grid_divisor) if object_tokens else ()
    with record_attention(
        unet, layers, source.add, branches=branches, object_tokens=object_tokens, map_layers=map_layers
    ):
        yield source


class KeepKeysValues:
    """Self-attention as before; its keys and values are kept."""

    def __init__(self, layer: Layer, original: Processor, kept: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.layer, self.original, self.kept = layer, original, kept

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.kept[self.layer.name] = (attn.to_k(hidden_states).detach(), attn.to_v(hidden_states).detach())
        out: torch.Tensor = self.original(attn, hidden_states, *args, **kwargs)
        return out


class KeepObjectMap:
    """Cross-attention as before; the attention to the object's words is kept for the conditional rows."""

    def __init__(
        self,
        layer: Layer,
        original: Processor,
        tokens: Sequence[int],
        branches: Sequence[str],
        latent_size: Callable[[], tuple[int, int] | None],
        kept: dict[str, torch.Tensor],
        text: torch.Tensor | None = None,
    ) -> None:
        self.layer, self.original, self.tokens, self.branches = layer, original, tokens, branches
        self.latent_size, self.kept = latent_size, kept
        self.text = text
        """(1, text tokens, channels): the prompt that the words stand in, if it is not the call's own."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        out: torch.Tensor = self.original(attn, hidden_states, encoder_hidden_states, *args, **kwargs)
        size = self.latent_size()
        if size is not None:
            frames = hidden_states.shape[0] // len(self.branches)
            conditional = slice(-frames, None)  # the last branch
            text = encoder_hidden_states[conditional] if self.text is None else self.text.expand(frames, -1, -1)
            maps = object_attention(attn, hidden_states[conditional], text, self.tokens)
            self.kept[self.layer.name] = maps.detach().reshape(-1, *self.layer.grid(size))
        return out
