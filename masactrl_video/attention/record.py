"""Recording a source: its keys and values, and where its object is, at every denoising step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from masactrl_video.attention.fired import check_all_called
from masactrl_video.attention.masks import joined_maps
from masactrl_video.attention.plan import layers_between_maps, layers_from
from masactrl_video.attention.recorded import MemorySource, StepRecord
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, TextCall
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

    Raises:
        UserError: a cache that leaves out calls is enabled on the denoiser.
    """
    check_all_called(denoiser)
    groups = (object_tokens, *attributes) if object_tokens else ()
    backbone = backbone_of(denoiser)
    rows_of = BranchFinder(
        tuple(branches),
        clock or StepClock(),
        each_has_a_call=backbone.calls_each_branch,
        prompt_first=backbone.prompt_comes_first,
    )
    masked = layers if masked_layers is None else masked_layers
    recording = _Recording(layers, branches, rows_of, [{} for _ in groups], (map_layers, masked), on_step)
    keep = KeepKeysValues(recording.kept)
    keeping = [
        KeepObjectMap(tokens, recording.rows, recording.map_size, found)
        for tokens, found in zip(groups, recording.maps, strict=True)
    ]
    to_text = {layer.name: keeping for layer in map_layers} if keeping else {}
    with (
        backbone.attending(denoiser, {layer.name: keep for layer in layers}, to_text),
        backbone.calls(denoiser, recording.begin, recording.end),
    ):
        yield


class _Recording:
    """What is kept of the calls of one step, until all its branches were called."""

    def __init__(
        self,
        layers: Sequence[AttentionLayer],
        branches: Sequence[str],
        rows_of: BranchFinder,
        maps: list[dict[str, torch.Tensor]],
        layers_of_maps: tuple[Sequence[AttentionLayer], Sequence[AttentionLayer]],
        on_step: Callable[[float, StepRecord], None],
    ) -> None:
        self._layers, self._branches, self._rows_of, self._on_step = layers, branches, rows_of, on_step
        self._layers_of_maps = layers_of_maps
        self.kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        """Layer → key and value of the call in progress."""
        self.maps = maps
        """Of each group of words."""
        self.rows: list[str] = []
        """Branches of the call in progress."""
        self._of_branches: dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]] = {}
        """Where each has a call of its own."""
        self._current: DenoiserCall | None = None

    def map_size(self) -> tuple[int, int] | None:
        """Latent size for the maps of the call in progress; None where it makes none."""
        assert self._current is not None
        return None if self.rows == ["unconditional"] else self._current.latent_size

    def begin(self, call: DenoiserCall) -> None:
        """A call begins."""
        self.rows[:] = self._rows_of.of(call)
        if call.rows != len(self.rows):
            raise UserError(
                f"a source is one image: a call of the denoiser had {call.rows} rows where {len(self.rows)} "
                f"({', '.join(self.rows)}) were expected; record one image at a time, and say with `branches` "
                "whether classifier-free guidance is on"
            )
        self.kept.clear()
        if self._of_branches and self._current is not None and self._current.timestep != call.timestep:
            missing = ", ".join(branch for branch in self._branches if branch not in self._of_branches)
            raise UserError(
                f"the call of the {missing} branch did not come at timestep {self._current.timestep:g}; say with "
                "`branches` whether classifier-free guidance is on"
            )
        for found in self.maps if not self._of_branches else ():
            found.clear()
        self._current = call

    def end(self) -> None:
        """It is over, and perhaps with it the step."""
        missing = [layer.name for layer in self._layers if layer.name not in self.kept]
        if missing:
            raise RuntimeError(f"the attention of {missing[0]} was not recorded: its processor was never called")
        if len(self.rows) < len(self._branches) and self._rows_of.each_has_a_call and not self._all_called():
            return
        if not self._rows_of.each_has_a_call:
            self._put_in_order()
        assert self._current is not None
        keys, values = ({name: pair[i] for name, pair in self.kept.items()} for i in (0, 1))
        early = early_maps(self.maps, *self._layers_of_maps)
        self._on_step(self._current.timestep, StepRecord(keys, values, joined_map(self.maps), early))

    def _put_in_order(self) -> None:
        """The branches of the call as the source has them; of a call without guidance, the prompt's for both."""
        order = [self.rows.index(branch) if branch in self.rows else 0 for branch in self._branches]
        if order != list(range(len(self.rows))):
            self.kept.update({name: (key[order], value[order]) for name, (key, value) in self.kept.items()})

    def _all_called(self) -> bool:
        """Lay the call's branch beside the others of its step; whether all are there, and joined."""
        self._of_branches[self.rows[0]] = dict(self.kept)
        if len(self._of_branches) < len(self._branches):
            return False
        for layer in self._layers:
            pairs = [self._of_branches[branch][layer.name] for branch in self._branches]
            self.kept[layer.name] = (torch.cat([key for key, _ in pairs]), torch.cat([value for _, value in pairs]))
        self._of_branches.clear()
        return True


def early_maps(
    maps: Sequence[Mapping[str, torch.Tensor]],
    map_layers: Sequence[AttentionLayer],
    masked_layers: Sequence[AttentionLayer],
) -> dict[str, torch.Tensor]:
    """Name of each layer between the map layers → the object map (height, width) as it was there."""
    early = {}
    for layer in layers_between_maps(masked_layers, map_layers) if any(maps) else ():
        before = [other.name for other in map_layers if other.index < layer.index]
        early[layer.name] = joined_map([{name: found[name] for name in before} for found in maps])
    return {name: found for name, found in early.items() if found is not None}


def joined_map(maps: Sequence[Mapping[str, torch.Tensor]]) -> torch.Tensor | None:
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
        whole: Callable[[str, torch.Tensor], torch.Tensor] = lambda layer, found: found,
    ) -> None:
        self.tokens, self.branches = tokens, branches
        self.whole = whole
        """From a layer's map of the tokens that a call computes to one of all."""
        self.latent_size, self.kept = latent_size, kept
        self.text = text
        """(1, text tokens, channels): the prompt that the words stand in, if it is not the call's own."""

    def __call__(self, layer: AttentionLayer, call: TextCall, out: torch.Tensor) -> torch.Tensor:
        """A `TextAttention`."""
        size = self.latent_size()
        if size is not None:
            frames = call.rows // len(self.branches)
            first = frames * self.branches.index("conditional")
            rows, text = slice(first, first + frames), None if self.text is None else self.text.expand(frames, -1, -1)
            found = self.whole(layer.name, call.word_map(self.tokens, rows, text).detach())
            self.kept[layer.name] = found.reshape(-1, *layer.grid(size))
        return out
