"""Recording a source: its keys and values, and where its object is, at every denoising step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from masactrl_video.attention.masks import joined_maps
from masactrl_video.attention.plan import layers_between_maps, layers_from
from masactrl_video.attention.recorded import MemorySource, StepRecord
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, TextAttention, TextCall
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.qkv import QKV, merge_heads
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.backbones.steps import BranchFinder, DenoiserCall, StepClock


@contextmanager
def record_attention(
    denoiser: torch.nn.Module,
    layers: Sequence[AttentionLayer],
    on_step: Callable[[float, StepRecord], None],
    *,
    branches: Sequence[str] = GUIDED,
    object_tokens: Sequence[int] = (),
    attributes: Sequence[Sequence[int]] = (),
    map_layers: Sequence[AttentionLayer] = (),
    masked_layers: Sequence[AttentionLayer] | None = None,
    clock: StepClock | None = None,
) -> Iterator[None]:
    """Inside the context, every step of the denoiser on one image ends in `on_step(timestep, record)`.

    Args:
        layers: self-attention layers whose keys and values are kept.
        branches: the rows of each call, e.g. `("unconditional", "conditional")`; the object map is taken from the last.
        object_tokens: positions of the object's words in the prompt; empty: no object map.
        attributes: the same of each thing that it wears, whose own map joins the object's.
        map_layers: layers whose attention to words makes the object map.
        masked_layers: layers that will use it, if others than `layers`; each gets the map as it is when it runs.
        clock: of the loop that makes the calls (`DiffusionModel.clock`).
    """
    masked_layers = layers if masked_layers is None else masked_layers
    backbone = backbone_of(denoiser)
    rows_of = BranchFinder(tuple(branches), clock or StepClock(), each_has_a_call=backbone.calls_each_branch)
    kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    of_branches: dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]] = {}  # where each has a call of its own
    groups = (object_tokens, *attributes) if object_tokens else ()
    maps: list[dict[str, torch.Tensor]] = [{} for _ in groups]
    rows: list[str] = []  # of the call in progress
    current: list[DenoiserCall] = []

    def begin(call: DenoiserCall) -> None:
        rows[:] = rows_of.of(call)
        if call.rows != len(rows):
            raise UserError(
                f"a source is one image: a call of the denoiser had {call.rows} rows where {len(rows)} "
                f"({', '.join(rows)}) were expected; record one image at a time, and say with `branches` "
                "whether classifier-free guidance is on"
            )
        kept.clear()
        if of_branches and current[0].timestep != call.timestep:
            missing = ", ".join(branch for branch in branches if branch not in of_branches)
            raise UserError(
                f"the call of the {missing} branch did not come at timestep {current[0].timestep:g}; say with "
                "`branches` whether classifier-free guidance is on"
            )
        for found in maps if not of_branches else ():
            found.clear()
        current[:] = [call]

    def end() -> None:
        missing = [layer.name for layer in layers if layer.name not in kept]
        if missing:
            raise RuntimeError(f"the attention of {missing[0]} was not recorded: its processor was never called")
        if len(rows) < len(branches):
            of_branches[rows[0]] = dict(kept)
            if len(of_branches) < len(branches):
                return
            for layer in layers:
                pairs = [of_branches[branch][layer.name] for branch in branches]
                kept[layer.name] = (torch.cat([key for key, _ in pairs]), torch.cat([value for _, value in pairs]))
            of_branches.clear()
        object_map = _joined(maps)
        keys, values = ({name: pair[i] for name, pair in kept.items()} for i in (0, 1))
        on_step(current[0].timestep, StepRecord(keys, values, object_map, _early_maps(maps, map_layers, masked_layers)))

    keep = KeepKeysValues(kept)
    to_text: Mapping[str, Sequence[TextAttention]] = {}

    def map_size() -> tuple[int, int] | None:
        return None if rows == ["unconditional"] else current[0].latent_size

    keeping = [KeepObjectMap(tokens, rows, map_size, found) for tokens, found in zip(groups, maps, strict=True)]
    if keeping:
        to_text = {layer.name: keeping for layer in map_layers}
    with (
        backbone.attending(denoiser, {layer.name: keep for layer in layers}, to_text),
        backbone.calls(denoiser, begin, end),
    ):
        yield


def _early_maps(
    maps: Sequence[Mapping[str, torch.Tensor]],
    map_layers: Sequence[AttentionLayer],
    masked_layers: Sequence[AttentionLayer],
) -> dict[str, torch.Tensor]:
    """Name of each layer between the map layers → the object map (height, width) as it was there."""
    early = {}
    for layer in layers_between_maps(masked_layers, map_layers) if any(maps) else ():
        before = [other.name for other in map_layers if other.index < layer.index]
        early[layer.name] = _joined([{name: found[name] for name in before} for found in maps])
    return {name: found for name, found in early.items() if found is not None}


def _joined(maps: Sequence[Mapping[str, torch.Tensor]]) -> torch.Tensor | None:
    """(height, width) of the only row."""
    found = joined_maps([[layer.float() for layer in of_group.values()] for of_group in maps])
    return None if found is None else found[0]


@contextmanager
def record_source(
    unet: torch.nn.Module,
    *,
    masa_layer: int = 10,
    branches: Sequence[str] | None = None,
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
        branches: `GUIDED` with classifier-free guidance, else `UNGUIDED`; when not given, as the pipeline does by
            default: with it for Stable Diffusion, without for FLUX.
        object_tokens: positions of the object's words in the prompt, for the masked mode (see `find_words`).
        mask_grid_divisor: latent side / side of the cross-attention maps that make the object map.

    Raises:
        UserError: more than one image in a call, or a timestep that comes twice.
    """
    backbone = backbone_of(unet)
    all_layers = backbone.layers(unet)
    layers = layers_from(all_layers, masa_layer)
    branches = backbone.own_branches(unet) if branches is None else branches
    source = MemorySource(tuple(branches), tuple(layer.name for layer in layers))
    map_layers = backbone.map_layers(all_layers, mask_grid_divisor) if object_tokens else ()
    with record_attention(
        unet, layers, source.add, branches=branches, object_tokens=object_tokens, map_layers=map_layers
    ):
        yield source


class KeepKeysValues:
    """Attention to the picture as before; its keys and values are kept."""

    def __init__(self, kept: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.kept = kept

    def __call__(self, layer: AttentionLayer, qkv: QKV) -> None:
        """A `PictureAttention`."""
        self.kept[layer.name] = (merge_heads(qkv.unplaced_key).detach(), merge_heads(qkv.value).detach())


class KeepObjectMap:
    """Attention to the text as before; that to the object's words is kept for the conditional rows."""

    def __init__(
        self,
        tokens: Sequence[int],
        branches: Sequence[str],
        latent_size: Callable[[], tuple[int, int] | None],
        kept: dict[str, torch.Tensor],
        text: torch.Tensor | None = None,
    ) -> None:
        self.tokens, self.branches = tokens, branches
        self.latent_size, self.kept = latent_size, kept
        self.text = text
        """(1, text tokens, channels): the prompt that the words stand in, if it is not the call's own."""

    def __call__(self, layer: AttentionLayer, call: TextCall, out: torch.Tensor) -> torch.Tensor:
        """A `TextAttention`."""
        size = self.latent_size()
        if size is not None:
            frames = call.rows // len(self.branches)  # the last branch is the conditional one
            text = None if self.text is None else self.text.expand(frames, -1, -1)
            self.kept[layer.name] = call.word_map(self.tokens, frames, text).detach().reshape(-1, *layer.grid(size))
        return out
