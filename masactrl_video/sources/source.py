"""The source (key frame): a picture whose denoising is walked once, step by step, while it is recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import SHARED
from masactrl_video.attention.use import control_attention
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_inverted
from masactrl_video.model.sampling.colours import HeldColours
from masactrl_video.model.sampling.denoise import Alter, Denoising, FrameBatch, predict_noise
from masactrl_video.model.sampling.invert import Trajectory, invert
from masactrl_video.model.sampling.schedulers import scheduler_step
from masactrl_video.poses.warp import Skeletons
from masactrl_video.settings.settings import Settings


@dataclass
class Walk:
    """One pass over the denoising steps of a source."""

    initial_noise: torch.Tensor
    """(1, channels, height, width), standard normal or the end of an inversion: z_T, from which targets start too."""
    steps: Iterator[int]
    """Runs the UNet once for each denoising step, then yields the step's index."""
    final_latents: torch.Tensor | None = None
    """The source picture's latents, once all steps are walked."""
    trajectory: Trajectory | None = None
    """Of a real picture: its latents at every step."""
    alter: Alter | None = None
    """What the output of a generated source becomes before the scheduler's step, and before it is shown."""
    look: Callable[[torch.Tensor, torch.Tensor, int], None] | None = None
    """Shown the output, the latents and the step, of every step; to be set before the first."""


class Source(Protocol):
    """A source picture, generated or real."""

    @property
    def text(self) -> TextCondition:
        """Prompts of the UNet's rows while the source is walked."""

    @property
    def scheduler(self) -> Schedule:
        """The scheduler with its timesteps set."""

    def begin(self) -> Walk:
        """Prepare a walk (inverting a real picture) and return it."""


@dataclass(frozen=True)
class Followed:
    """The first of several sources, which a later one is generated against, so that both show the same character."""

    source: Sequence[SourcePart]
    """It alone."""
    name: str
    """Of its cache entry, which names all that it is made from."""
    plan: ControlPlan
    masks: MaskRule | None = None
    skeletons: Skeletons | None = None
    """Of the first source and of the later one, where keys go with the limbs."""
    colours: HeldColours | None = None
    """Its colours, where the later one is aligned to them as frames are."""


@dataclass(frozen=True)
class GeneratedSource:
    """A source made from a prompt, under the guidance of its own frame (MasaCtrl, Sec. 5, DP1)."""

    denoising: Denoising
    scheduler: Schedule
    noise: torch.Tensor
    """(1, channels, height, width), standard normal."""
    guidance: PreparedControls | None
    followed: Followed | None = None
    pictures: Sequence[NDArray[np.uint8]] = ()
    """What `guidance` was prepared from, (1, height, width, 3) for each network."""

    @property
    def text(self) -> TextCondition:
        """Prompts of the UNet's rows while the source is walked."""
        return self.denoising.text

    @contextmanager
    def following(self, walk: Walk) -> Iterator[None]:
        """Context for a walk, in which it follows another source, if it does."""
        if self.followed is None:
            yield
            return
        model, followed = self.denoising.model, self.followed
        with control_attention(
            model.denoiser,
            followed.source,
            followed.plan,
            branches=self.text.names,
            masks=followed.masks,
            clock=model.clock,
        ) as control:
            if followed.skeletons is not None:
                control.limbs.sources = followed.skeletons.sources
                control.limbs.frames = followed.skeletons.frames
            if followed.colours is not None:
                walk.alter = followed.colours.aligning(self.scheduler, [[1.0]], control.figures.target_figure)
            yield

    def begin(self) -> Walk:
        """Start from the noise."""
        walk = Walk(self.noise, iter(()))
        walk.steps = self._steps(walk)
        return walk

    def _steps(self, walk: Walk) -> Iterator[int]:
        batch = FrameBatch.from_noise(self.noise, self.guidance, self.scheduler)

        def shown(output: torch.Tensor, latents: torch.Tensor, step: int) -> torch.Tensor:
            if walk.alter is not None:
                output = walk.alter(output, latents, step)
            if walk.look is not None:
                walk.look(output, latents, step)
            return output

        batch.alter = shown
        for step in range(len(self.scheduler.timesteps)):
            self.denoising.step(batch, step)
            yield step
        walk.final_latents = batch.latents


@dataclass(frozen=True)
class RealSource:
    """A given picture: inverted without guidance, then (unless told otherwise) replayed, so that it is reconstructed.

    The keys and values of step t come from a second pass at (z_t, t): the inversion itself evaluates the UNet at
    (z_{t-1}, t). Taking each z_t from the trajectory instead of denoising freely is the official code's
    `ref_intermediate_latents`.
    """

    model: DiffusionModel
    scheduler: Schedule
    picture_latents: torch.Tensor
    """(1, channels, height, width), scaled."""
    text: TextCondition
    """Source prompt (usually empty) and negative prompt; one branch where they are the same."""
    trajectory: Trajectory | None = None
    """Where the inversion has been done before."""
    iterations: int = 0
    """Refinements of each step of the inversion (see `invert`)."""
    replayed: bool = True
    """Whether each step's latents are taken from the trajectory; else the noise is denoised freely."""

    def inverted(self) -> RealSource:
        """The same source with its inversion done."""
        if self.trajectory is not None:
            return self
        last = self.text.branch(self.text.branches - 1)  # the conditional branch: inversion is without guidance
        found = invert(self.model, self.picture_latents, last, self.scheduler, self.iterations)
        return replace(self, trajectory=found)

    def begin(self) -> Walk:
        """Invert the picture, unless that has been done."""
        trajectory = self.inverted().trajectory
        assert trajectory is not None
        walk = Walk(trajectory.latents[0], iter(()), trajectory=trajectory)
        walk.steps = replay(self.model, trajectory, self.text, self.scheduler, walk, freely=not self.replayed)
        return walk


@torch.no_grad()
def replay(
    model: DiffusionModel,
    trajectory: Trajectory,
    text: TextCondition,
    scheduler: Schedule,
    walk: Walk | None = None,
    *,
    freely: bool = False,
) -> Iterator[int]:
    """Run the UNet at every (z_t, t) of a trajectory; the last prediction gives the reconstructed picture.

    Args:
        freely: take z_T alone from the trajectory and denoise it, without guidance, as the inversion was.
    """
    scheduler = copy.deepcopy(scheduler)  # a flow's counts its steps
    num_steps, latents = len(scheduler.timesteps), trajectory.latents[0]
    for step, timestep in enumerate(scheduler.timesteps):
        latents = latents if freely else trajectory.latents[step]
        with model.clock.at(step):
            branches = predict_noise(model, latents, timestep, text, None, step, num_steps)
        if walk is not None and walk.look is not None:
            walk.look(branches[-1], latents, step)
        yield step
        latents = scheduler_step(scheduler, branches[-1], timestep, latents, 0, step)  # of the conditional branch alone
    if walk is not None:
        walk.final_latents = latents


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Root mean square of the difference, in that of what is wanted: how near a picture's latents come back."""
    difference = found.float() - wanted.float()
    return float(difference.square().mean().sqrt() / wanted.float().square().mean().sqrt().clamp_min(1e-12))


def inverted_text(
    settings: Settings, model: DiffusionModel, prompt: str, negative_prompt: str, size_px: tuple[int, int]
) -> tuple[TextCondition, tuple[str, ...]]:
    """What an inverted picture is recorded under, and its branches: one where both prompts are the same."""
    guided = (settings.guidance_scale, size_px, settings.true_cfg_scale)
    text = encode_inverted(model, prompt, negative_prompt, *guided)
    return unique_branches(text, text.names, SHARED)


def unique_branches(text: TextCondition, names: Sequence[str], shared: str) -> tuple[TextCondition, tuple[str, ...]]:
    """One branch, called `shared`, where unconditional and conditional read the same; else all of them."""
    return (text.branch(0), (shared,)) if text.branches_are_equal() else (text, tuple(names))
