"""One denoising step of a batch of frames: guidance, denoiser, classifier-free guidance, scheduler."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch

from masactrl_video.model.backbones.branches import PLAIN, GuidanceRule
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.backbones.window import Window, cut_rows
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.schedulers import scheduler_step

Alter = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
"""Takes the denoiser's guided output, the latents (each (frames, channels, height, width)) and the denoising step, and
gives the output to go on with."""


@dataclass
class FrameBatch:
    """Frames that pass through the denoiser together, somewhere on their way from noise to picture."""

    latents: torch.Tensor
    """(frames, channels, height, width) at the noise level of the step to come."""
    guidance: PreparedControls | None
    scheduler: Schedule
    """Its own: multistep schedulers keep the last predictions inside."""
    deep_features: torch.Tensor | None = None
    """(branches x frames, channels, height, width) of the last step done by the whole denoiser, if they are reused."""
    figure: torch.Tensor | None = None
    """(frames, height, width) bool: before a still ground, where the object is, if that is known."""
    own_part: torch.Tensor | None = None
    """(frames, height, width) bool: before a still ground, where the latents are not the source's, if that is known."""
    alter: Alter | None = None
    """What the guided output becomes before the scheduler's step."""
    joined_steps: Collection[int] = ()
    """Of the steps, those with `StepClock.joins_branches`: bits need not be those of the family's pipeline there."""

    @classmethod
    def from_noise(
        cls,
        noise: torch.Tensor,
        guidance: PreparedControls | None,
        scheduler: Schedule,
        joined_steps: Collection[int] = (),
    ) -> FrameBatch:
        """Start from standard normal noise (frames, channels, height, width)."""
        own = copy.deepcopy(scheduler)
        return cls(noise * own.init_noise_sigma, guidance, own, joined_steps=joined_steps)


@dataclass(frozen=True)
class Denoising:
    """What all batches of a run share."""

    model: DiffusionModel
    text: TextCondition
    guidance_scale: float
    seed: int
    """For schedulers that draw noise at every step."""
    unguided_steps: int = 0
    """So many of the steps, the last ones, are without the unconditional branch: the conditional prediction is taken as
    it is, which is cheaper and not exact (guidance in a limited interval: Kynkäänniemi et al. 2024)."""
    whole_every: int = 1
    """The whole denoiser runs at every so many steps, the first one included; at the others its outermost blocks run
    alone, which is cheaper and not exact (see `Backbone.outermost_alone`)."""
    rule: GuidanceRule = PLAIN

    def text_at(self, step: int, timesteps: torch.Tensor) -> TextCondition:
        """The prompts of the rows of a denoising step: `text`, or `conditional_text`."""
        is_late = step >= len(timesteps) - self.unguided_steps
        skipped = self.text.branches > 1 and (is_late or not self.rule.guides_at(timesteps[step]))
        return self.conditional_text if skipped else self.text

    @cached_property
    def conditional_text(self) -> TextCondition:
        """The last branch alone."""
        return self.text.branch(self.text.branches - 1)

    @torch.no_grad()
    def step(self, batch: FrameBatch, step: int) -> None:
        """Take `batch` through denoising step `step`."""
        self.advance(batch, self.output(batch, step), step)

    @torch.no_grad()
    def output(self, batch: FrameBatch, step: int, part: Mapping[int, Window | None] | None = None) -> torch.Tensor:
        """The denoiser's guided output (frames, channels, height, width) at a step.

        Args:
            part: of these rows alone, and of each with a window of that alone, as if it were the picture, for networks
                that can do that; all windows have the same size.
        """
        timestep = batch.scheduler.timesteps[step]
        model_input, guidance = batch.scheduler.scale_model_input(batch.latents, timestep), batch.guidance
        if part is not None:
            model_input = cut_rows(model_input, part)
            guidance = None if guidance is None else self.model.backbone.controls_in(guidance, part)
        num_steps = len(batch.scheduler.timesteps)
        text = self.text_at(step, batch.scheduler.timesteps)
        alone = self.model.clock.of(text.names) if text.branches < self.text.branches else nullcontext()
        rows = text.branches * model_input.shape[0]
        joining = self.model.clock.joining(joins=step in batch.joined_steps)
        with self.model.clock.at(step), joining, alone, self._part_of_denoiser(batch, step, rows):
            predict = self.model.backbone.predict
            branches = predict(self.model, model_input, timestep, text, guidance, step, num_steps)
        return self.model.backbone.guided(branches, self.guidance_scale, self.rule)

    @torch.no_grad()
    def advance(self, batch: FrameBatch, output: torch.Tensor, step: int) -> None:
        """Take `batch` through the scheduler's step, with the denoiser's guided output."""
        if batch.alter is not None:
            output = batch.alter(output, batch.latents, step)
        timestep = batch.scheduler.timesteps[step]
        batch.latents = scheduler_step(batch.scheduler, output, timestep, batch.latents, self.seed, step)

    @contextmanager
    def _part_of_denoiser(self, batch: FrameBatch, step: int, rows: int) -> Iterator[None]:
        """Inside the context, the part of the denoiser runs that this step is for."""
        if self.whole_every == 1:
            yield
        elif step % self.whole_every == 0:
            with self.model.backbone.keeping_deep_features(self.model) as kept:
                yield
            batch.deep_features = kept[-1]
        else:
            assert batch.deep_features is not None
            kept_rows = batch.deep_features[-rows:]  # the conditional rows are the last
            with self.model.backbone.outermost_alone(self.model, kept_rows):
                yield


def predict_noise(
    model: DiffusionModel,
    model_input: torch.Tensor,
    timestep: torch.Tensor,
    text: TextCondition,
    guidance: PreparedControls | None,
    step: int,
    num_steps: int,
) -> torch.Tensor:
    """The denoiser's output for all branches: (frames, channels, height, width) → (branches, frames, channels, ...)."""
    return model.backbone.predict(model, model_input, timestep, text, guidance, step, num_steps)
