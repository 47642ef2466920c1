"""A source whose keys and values are kept nowhere: made again, step by step, beside the frames that ask for them.

The cache keeps its latents at every step, which are small, so that any step can be made by one call of the denoiser.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from masactrl_video.attention.record import record_attention
from masactrl_video.attention.recorded import StepRecord
from masactrl_video.cache.recorded_source import LEVELS, OBJECT_MAP, CachedSource
from masactrl_video.cache.store import CacheEntry
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.denoise import predict_noise

STORED_AS = "stored_as"
LIVE = "live"
"""In the identity of an entry without keys and values."""


def picture_name(number: int) -> str:
    """Tensor with a control picture of the source, (height, width, 3) uint8."""
    return f"picture_{number}"


def map_name(step: int, name: str) -> str:
    """Tensor with an object map of a step, which `name` has in a step's own file."""
    return f"step_{step:04d}.{name}"


@dataclass(frozen=True, eq=False, kw_only=True)
class LiveSource(CachedSource):
    """A `RecordedSource` that is made again: `prepare` a step before frames read it."""

    model: DiffusionModel
    """With the networks that guide it."""
    text: TextCondition
    scheduler: Schedule
    layers_kept: Sequence[AttentionLayer]
    steps_kept: Sequence[int]
    _made: dict[int, StepRecord] = field(default_factory=dict)
    _stored: dict[str, torch.Tensor] = field(default_factory=dict)
    _guidance: dict[torch.dtype, PreparedControls] = field(default_factory=dict)

    @property
    def steps(self) -> Sequence[int]:
        """Steps that can be made."""
        return self.steps_kept

    def read(self, step: int) -> StepRecord:
        """What `prepare` has made of this step."""
        if step not in self._made:
            raise RuntimeError(f"step {step} of a live source is read before it is made")
        return self._made[step]

    @torch.no_grad()
    def prepare(self, step: int) -> None:
        """Make a step; what was made before goes. Not to be called inside a denoiser's call."""
        self._made.clear()
        found: list[StepRecord] = []
        model, stored, timestep = self.model, self._tensors(), self.scheduler.timesteps[step]
        level = stored[LEVELS][step][None].to(model.dtype)
        level = copy.deepcopy(self.scheduler).scale_model_input(level, timestep)
        text = self.text if self.text.hidden_states.dtype == model.dtype else self.text.in_float32()
        guidance = self._prepared()
        with (
            record_attention(
                model.denoiser,
                self.layers_kept,
                lambda _, record: found.append(record),
                branches=self.branches,
                clock=model.clock,
            ),
            model.clock.at(step),
        ):
            predict_noise(model, level, timestep, text, guidance, step, len(self.scheduler.timesteps))
        (record,) = found
        names = {layer: map_name(step, f"{layer}.{OBJECT_MAP}") for layer in self.layers}
        early = {layer: stored[name] for layer, name in names.items() if name in stored}
        self._made[step] = StepRecord(record.keys, record.values, stored.get(map_name(step, OBJECT_MAP)), early)

    def _prepared(self) -> PreparedControls | None:
        """Its control pictures, ready for the number format that the model has now."""
        model, stored = self.model, self._tensors()
        shown = [stored[name] for number in range(len(model.networks)) if (name := picture_name(number)) in stored]
        if shown and model.dtype not in self._guidance:
            self._guidance[model.dtype] = model.prepare_controls([picture.cpu().numpy()[None] for picture in shown])
        return self._guidance.get(model.dtype)

    def _tensors(self) -> dict[str, torch.Tensor]:
        if not self._stored:
            self._stored.update(self.entry.read("source", self.device))
        return self._stored


def is_live(entry: CacheEntry) -> bool:
    """Whether an entry has no keys and values."""
    return entry.index.determined_by.get(STORED_AS) == LIVE


def stored_pictures(pictures: Sequence[NDArray[np.uint8]]) -> dict[str, torch.Tensor]:
    """Control pictures of a source, each (1, height, width, 3), as its entry has them."""
    return {picture_name(number): torch.from_numpy(picture[0]) for number, picture in enumerate(pictures)}
