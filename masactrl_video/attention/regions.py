"""Several sources in one picture: each region of the target queries the source that it belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from masactrl_video.attention.masks import binary_mask, normalised
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.record import KeepObjectMap
from masactrl_video.attention.recorded import RecordedSource, StepRecord, branch_rows
from masactrl_video.attention.region_text import ReadByRegion
from masactrl_video.attention.session import AttentionControl
from masactrl_video.attention.use import steered
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, TextAttention
from masactrl_video.model.backbones.branches import GUIDED, Branch
from masactrl_video.model.backbones.qkv import QKV, by_branch, merge_heads, split_heads
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.backbones.steps import DenoiserCall, StepClock
from masactrl_video.settings.names import Ground

KeysValues = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class RegionSource:
    """A source, and where in the target its object is."""

    source: RecordedSource
    latent_size: tuple[int, int]
    """Height and width of the source's latents; they may differ from the target's."""
    target_tokens: tuple[int, ...] = ()
    """Positions of the object's words in the target's prompt: their cross-attention gives its region."""
    region: torch.Tensor | None = None
    """(height, width) bool on the target's latent grid: where the object may be; without words, where it is."""
    text: torch.Tensor | None = None
    """(1, text tokens, channels): what the region reads instead of the target's prompt; the words stand in it."""

    def __post_init__(self) -> None:
        if self.text is not None and self.region is None:
            raise UserError("several sources: a prompt of one's own needs a region, in which it is read")
        if not self.target_tokens and self.region is None:
            raise UserError("several sources: give the words of each object, or its region")


class RegionControl(AttentionControl):
    """What the controlled layers share where several sources take part; one source with a region is possible too."""

    def __init__(
        self,
        sources: Sequence[RegionSource],
        plan: ControlPlan,
        branches: Sequence[Branch],
        ground: Ground = "self",
        threshold: float = 0.1,
        clock: StepClock | None = None,
    ) -> None:
        for other in sources:
            if list(other.source.timesteps) != list(sources[0].source.timesteps):
                raise UserError("several sources: they were recorded at different timesteps; use one scheduler for all")
            super().__init__(other.source, plan, branches, None, clock)  # what one source must have, each must have
        super().__init__(sources[0].source, plan, branches, None, clock)
        self.sources, self.ground, self.threshold = tuple(sources), ground, threshold
        self.maps: list[dict[str, torch.Tensor]] = [{} for _ in sources]
        """For each source, layer → the target's attention to its words (frames, height, width), of this UNet call."""
        self.owned: Counter[int] = Counter()
        """Number of a source → tokens that queried it, over all controlled attention calls; 0: it was never found."""
        self._records: list[StepRecord] = []

    def begin(self, call: DenoiserCall) -> None:
        """Start of a call of the denoiser: the records of all sources at its step."""
        before = self.record
        super().begin(call)
        if self.record is None:
            self._records = []
        elif self.record is not before:
            self._records = [self.record, *(other.source.read(self._step_now) for other in self.sources[1:])]
        for kept in self.maps:
            kept.clear()

    def attend(self, layer: AttentionLayer, qkv: QKV) -> torch.Tensor:
        """Self-attention of one layer by regions: (rows, tokens, heads x head_dim)."""
        grid = self.fire(layer, qkv)
        query, own_key, own_value = (
            by_branch(states, len(self.branches)) for states in (qkv.query, qkv.key, qkv.value)
        )  # -> (branches, frames, heads, tokens, head_dim)
        owner = self.owner(grid, query.shape[1])
        self.owned.update(owner.flatten().tolist())
        ground = self._ground_of_first(layer, qkv.heads) if self.ground == "first" else None
        self._share = ((owner != GROUND) | (ground is not None)).float().mean(dim=1)
        figures = [self._figure(number, layer, qkv.heads) for number in range(len(self.sources))]
        out = attention_by_region(
            query,
            own_key,
            own_value,
            [_as(query, kept) for kept in figures],
            owner,
            _as(query, ground) if ground is not None else None,
        )
        return merge_heads(out).flatten(0, 1)

    def check_fired(self, calls_per_step: int | None = None) -> dict[str, int]:
        """The figures of `AttentionControl.check_fired`, and the tokens that queried each source."""
        owned = {f"tokens_of_source_{number}": self.owned[number] for number in range(len(self.sources))}
        return super().check_fired(calls_per_step) | owned

    def owner(self, grid: tuple[int, int], frames: int) -> torch.Tensor:
        """(frames, tokens): the number of the source that each token of a layer's grid belongs to, or `GROUND`."""
        return owners(
            torch.stack([self._score(number, grid, frames) for number in range(len(self.sources))]), self.threshold
        )

    def _score(self, number: int, grid: tuple[int, int], frames: int) -> torch.Tensor:
        """(frames, tokens) in [0, 1]: how much of a source's object is there."""
        source, kept = self.sources[number], self.maps[number]
        allowed = binary_mask(source.region[None], 0.5, grid).float() if source.region is not None else None
        if not source.target_tokens:
            assert allowed is not None
            return allowed.expand(frames, -1)
        if not kept:
            raise RuntimeError(f"the words of source {number} have no map yet; control a layer after the map layers")
        soft = normalised([kept[name] for name in sorted(kept)])
        resized = torch.nn.functional.interpolate(soft[:, None], size=grid, mode="nearest").flatten(1)
        return resized if allowed is None else resized * allowed

    def _figure(self, number: int, layer: AttentionLayer, heads: int) -> KeysValues:
        """Keys and values of a source's object; of the whole source where it has no object map or an empty one."""
        mask = self._source_mask(number, layer)
        return self._keys_values(number, layer, heads, mask if mask is not None and bool(mask.any()) else None)

    def _ground_of_first(self, layer: AttentionLayer, heads: int) -> KeysValues:
        mask = self._source_mask(0, layer)
        return self._keys_values(0, layer, heads, ~mask if mask is not None and not bool(mask.all()) else None)

    def _source_mask(self, number: int, layer: AttentionLayer) -> torch.Tensor | None:
        """(source tokens,) bool on the source's own grid."""
        object_map = self._records[number].object_map_at(layer.name)
        if object_map is None:
            return None
        return binary_mask(object_map[None], self.threshold, layer.grid(self.sources[number].latent_size))[0]

    def _keys_values(self, number: int, layer: AttentionLayer, heads: int, mask: torch.Tensor | None) -> KeysValues:
        rows = branch_rows(self.sources[number].source.branches, self.branches)
        key, value = (
            split_heads(states[rows], heads).expand(len(self.branches), -1, -1, -1)
            for states in (self._records[number].keys[layer.name], self._records[number].values[layer.name])
        )  # -> (branches, heads, source tokens, head_dim)
        return (key, value) if mask is None else (key[:, :, mask], value[:, :, mask])


@contextmanager
def control_regions(
    denoiser: torch.nn.Module,
    sources: Sequence[RegionSource],
    plan: ControlPlan,
    *,
    branches: Sequence[Branch] = GUIDED,
    ground: Ground = "self",
    threshold: float = 0.1,
    clock: StepClock | None = None,
) -> Iterator[RegionControl]:
    """Inside the context, each region of the target queries its own source (`control_attention` for several).

    Args:
        plan: in mode `masked`, with `mask_layers` where words give the regions.
        ground: what queries outside all regions attend to: their own frame, or the ground of the first source.
        threshold: normalised attention from which a token belongs to an object (MasaCtrl, Sec. 4.2).
        clock: of the loop that makes the calls (see `control_attention`).

    Raises:
        UserError: steps, layers or branches that a source does not have.
        RuntimeError: on leaving, when a layer was not controlled where it had to be.
    """
    control = RegionControl(sources, plan, branches, ground, threshold, clock)
    to_text = _reading(denoiser, control)
    for kept, source in zip(control.maps, sources, strict=True):
        keep = KeepObjectMap(source.target_tokens, control.branches, control.map_size, kept, source.text)
        for layer in plan.mask_layers if source.target_tokens else ():
            to_text.setdefault(layer.name, []).append(keep)
    with steered(denoiser, control, to_text):
        yield control


def _as(query: torch.Tensor, kept: KeysValues) -> KeysValues:
    """Recorded keys and values in the number format of the query: frames may be made again in float32."""
    return kept[0].to(query.dtype), kept[1].to(query.dtype)


def _reading(denoiser: torch.nn.Module, control: RegionControl) -> dict[str, list[TextAttention]]:
    """What is added to the text's layers where regions have prompts of their own, at every step."""
    prompts = [(s.region, s.text) for s in control.sources if s.region is not None and s.text is not None]
    if not prompts:
        return {}
    reading = ReadByRegion(control.branches, lambda: control.latent_size, prompts)
    return {layer.name: [reading] for layer in backbone_of(denoiser).layers(denoiser)}


GROUND = -1
"""Owner of a token that belongs to no source's object."""


def attention_by_region(
    query: torch.Tensor,
    own_key: torch.Tensor,
    own_value: torch.Tensor,
    sources: Sequence[tuple[torch.Tensor, torch.Tensor]],
    owner: torch.Tensor,
    ground: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Eq. 6-8 of MasaCtrl with several figures: a query of region i attends to the keys of source i and no others.

    Queries are gathered by their owner, so that each region is one exact, smaller attention; no matrix is masked.

    Args:
        query, own_key, own_value: (branches, frames, heads, tokens, head_dim).
        sources: key and value (branches, heads, source tokens, head_dim) of each source, already cut to its figure.
        owner: (frames, tokens), the number of a source, or `GROUND`.
        ground: key and value (branches, heads, ground tokens, head_dim) for the queries that no source owns; None:
            they attend to all tokens of their own frame, the ordinary self-attention.

    Returns:
        (branches, frames, heads, tokens, head_dim).
    """
    out = torch.empty_like(query)
    by_token = query.transpose(2, 3)  # -> (branches, frames, tokens, heads, head_dim)
    shared = list(enumerate(sources)) + ([(GROUND, ground)] if ground is not None else [])
    for number, (key, value) in shared:
        frames, tokens = (owner == number).nonzero(as_tuple=True)
        if len(frames):
            queries = by_token[:, frames, tokens].transpose(1, 2)  # -> (branches, heads, gathered tokens, head_dim)
            attended = F.scaled_dot_product_attention(queries, key, value)
            out[:, frames, :, tokens] = attended.permute(2, 0, 1, 3)  # two lists of indices: their axis comes first
    if ground is None:
        for frame, tokens in ((f, (row == GROUND).nonzero().squeeze(1)) for f, row in enumerate(owner)):
            if len(tokens):
                queries = query[:, frame, :, tokens]
                out[:, frame, :, tokens] = F.scaled_dot_product_attention(
                    queries, own_key[:, frame], own_value[:, frame]
                )
    return out


def owners(scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Who owns a token: the source with the highest score there, if that reaches `threshold`; else the ground.

    Args:
        scores: (sources, frames, tokens) in [0, 1]; 0 where a source may not be at all. Of equal scores the first wins.

    Returns:
        (frames, tokens), the number of a source or `GROUND`.
    """
    best, number = scores.max(dim=0)
    return torch.where((best >= threshold) & (best > 0), number, GROUND)
