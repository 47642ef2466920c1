"""Record Source: what a sampler does with the patched MODEL is kept, keys and values of one picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from masactrl_video.attention.plan import layers_from
from masactrl_video.attention.record import KeepObjectMap, early_maps, joined_map
from masactrl_video.attention.recorded import MemorySource, RecordedSource, StepRecord
from masactrl_video.comfyui.calls import Call
from masactrl_video.comfyui.comfy_types import CALL, RUN, Patcher
from masactrl_video.comfyui.fitting import Fit, fit_of
from masactrl_video.comfyui.models import network_of
from masactrl_video.comfyui.networks import ComfyNetwork, NetworkLayer, Reading
from masactrl_video.comfyui.words import Words
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED

KEY = "masactrl_video.record"

States = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Layer → key and value, (1, tokens, channels)."""


@dataclass(frozen=True, eq=False)
class Source:
    """A recorded source, whole: what a Use Source node takes."""

    recorded: RecordedSource
    """Its timesteps are the noise levels (sigma), falling."""
    schedule: tuple[float, ...]
    """Noise level at the start of each step of the sampler; a sampler may have called between them too."""
    latent_size: tuple[int, int]
    fit: Fit
    latents: torch.Tensor
    """(1, channels, height, width): what the sampler made of it."""

    def knows_object(self) -> bool:
        """Whether it was recorded with words of its object."""
        return self.recorded.read(self.recorded.steps[0]).object_map is not None

    def on(self, device: torch.device) -> MovedSource:
        """The same, read onto a device."""
        return MovedSource(self.recorded, device)


@dataclass(frozen=True)
class MovedSource:
    """A `RecordedSource` that is kept in memory and read onto a device."""

    kept: RecordedSource
    device: torch.device

    @property
    def timesteps(self) -> Sequence[float]:
        """As kept."""
        return self.kept.timesteps

    @property
    def steps(self) -> Sequence[int]:
        """As kept."""
        return self.kept.steps

    @property
    def layers(self) -> Sequence[str]:
        """As kept."""
        return self.kept.layers

    @property
    def branches(self) -> Sequence[str]:
        """As kept."""
        return self.kept.branches

    def read(self, step: int) -> StepRecord:
        """Everything recorded at `step`."""
        record = self.kept.read(step)
        keys, values = (
            {name: tensor.to(self.device) for name, tensor in states.items()} for states in (record.keys, record.values)
        )
        early = {name: found.to(self.device) for name, found in record.early_maps.items()}
        whole = None if record.object_map is None else record.object_map.to(self.device)
        return StepRecord(keys, values, whole, early)


@dataclass(eq=False)
class Recording:
    """What one patched MODEL has recorded: nothing, until a sampler has run with it to the end."""

    network: ComfyNetwork
    layers: tuple[NetworkLayer, ...]
    """Those that are kept."""
    fit: Fit
    words: Words | None = None
    """Those of the object, whose map is kept too."""
    source: Source | None = None
    _draft: dict[float, dict[str, States]] = field(default_factory=dict, repr=False)
    _maps: dict[float, dict[str, torch.Tensor]] = field(default_factory=dict, repr=False)
    """Noise level → layer → attention to the words, (1, height, width)."""
    _latent_size: tuple[int, int] = (0, 0)

    def __deepcopy__(self, memo: dict[int, Any]) -> Recording:
        return self  # a LoRA that is added later copies the MODEL; it still records here

    def run(self, executor: Callable[..., torch.Tensor], *arguments: Any, **named: Any) -> torch.Tensor:
        """Around a whole run of a sampler; an interrupted one leaves nothing."""
        self.source = None
        self._draft.clear()
        self._maps.clear()
        try:
            made = executor(*arguments, **named)
            sigmas = arguments[3] if len(arguments) > 3 else named["sigmas"]
            self.source = self._whole([float(sigma) for sigma in sigmas], made)
        finally:
            self._draft, self._maps = {}, {}
        return made

    def call(self, executor: Callable[..., torch.Tensor], *arguments: Any, **named: Any) -> torch.Tensor:
        """Around a call of the denoiser: its self-attention is looked at, and stays as it is."""
        call = Call(executor, arguments, named)
        branches, at = call.branches, self._draft.setdefault(call.sigma, {})
        if len(call.x) != len(branches) or len(set(branches)) < len(branches):
            raise UserError(
                f"Record Source: a source is one picture of one prompt, this call has {len(call.x)} rows for "
                f"{len(branches)} prompts; give an empty latent of batch size 1, and no prompts for areas"
            )
        self._latent_size = call.size
        fresh = [(row, branch) for row, branch in enumerate(branches) if branch not in at]
        if not fresh:  # of several calls at a level the first counts
            return call.made(call.options)
        drafts: dict[str, States] = {branch: {} for _, branch in fresh}

        def look(layer: NetworkLayer, key: torch.Tensor, value: torch.Tensor) -> None:
            for row, branch in fresh:
                drafts[branch][layer.name] = (key[row : row + 1].cpu(), value[row : row + 1].cpu())

        maps: dict[str, torch.Tensor] = {}
        reading = self._reading(call, maps) if "conditional" in drafts else {}
        with self.network.looked(call, self.layers, look, reading) as options:
            out = call.made(options)
        at.update(drafts)
        if maps:
            self._maps[call.sigma] = maps
        return out

    def _reading(self, call: Call, maps: dict[str, torch.Tensor]) -> Reading:
        if self.words is None:
            return {}
        self.words.check(call.context)
        keep = KeepObjectMap(self.words.tokens, ["conditional"], lambda: call.size, maps)
        return {layer.name: [keep] for layer in self.network.map_layers(self.words.divisor)}

    def _whole(self, sigmas: Sequence[float], made: torch.Tensor) -> Source:
        if not self._draft:
            raise UserError("Record Source: the sampler has not called the model; give it 1 step or more")
        levels = sorted(self._draft, reverse=True)
        branches = [branch for branch in GUIDED if branch in self._draft[levels[0]]]
        source = MemorySource(tuple(branches), tuple(layer.name for layer in self.layers))
        for sigma in levels:
            if set(self._draft[sigma]) != set(branches):
                raise UserError(
                    f"Record Source: at noise level {sigma:g} the branches were {', '.join(sorted(self._draft[sigma]))}"
                    f", at the first {', '.join(branches)}; leave out ranges of timesteps for prompts"
                )
            states = [self._draft[sigma][branch] for branch in branches]
            keys, values = (
                {name: torch.cat([of[name][place] for of in states]) for name in source.layers} for place in (0, 1)
            )
            source.add(sigma, StepRecord(keys, values, *self._object_maps(sigma)))
        return Source(source, tuple(sigmas[:-1]), self._latent_size, self.fit, made.detach().cpu())

    def _object_maps(self, sigma: float) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        """Where the object is at a noise level, (height, width), and as it was known in layers between its maps."""
        if self.words is None:
            return None, {}
        maps = [self._maps.get(sigma, {})]
        return joined_map(maps), early_maps(maps, self.network.map_layers(self.words.divisor), self.layers)


def record_source(model: Patcher, first_layer: int = 0, words: Words | None = None) -> tuple[Patcher, Recording]:
    """A copy of a MODEL that records what a sampler does with it; the given one stays as it is.

    Args:
        first_layer: layers before it are not kept.
        words: of the object, in the prompt: where they are is kept too, for masks.

    Raises:
        UserError: it is of no known kind, or has not so many layers.
    """
    network = network_of(model)
    layers = network.layers
    kept = tuple(layer for layer in layers if layer in layers_from(layers, first_layer))
    if not kept:
        raise UserError(f"first_layer: got {first_layer}; this model has the layers 0 to {len(layers) - 1}")
    recording = Recording(network, kept, fit_of(model, layers), words)
    if words is not None:
        network.map_layers(words.divisor)  # there are some
    patched = model.clone()
    for kind, method in ((RUN, recording.run), (CALL, recording.call)):
        patched.remove_wrappers_with_key(kind, KEY)
        patched.add_wrapper_with_key(kind, KEY, partial(method))
    return patched, recording


def finished(recording: Recording, latents: torch.Tensor) -> Source:
    """What was recorded while these latents were made.

    Raises:
        UserError: nothing was, or other latents.
    """
    source = recording.source
    if source is None:
        raise UserError(
            "source: nothing is recorded yet; give the MODEL of Record Source to a sampler, and that sampler's LATENT "
            "to `recorded`"
        )
    if source.latents.shape != latents.shape or not torch.equal(source.latents, latents.cpu().to(source.latents.dtype)):
        raise UserError(
            "recorded: these latents are not those that were recorded last; connect the LATENT of the one sampler that "
            "has the MODEL of Record Source (its `output`), and let it run again, with another seed if need be"
        )
    return source
