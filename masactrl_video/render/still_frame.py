"""A frame before a still ground on transformers, which compute its own tokens alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
import torch.nn.functional as F

from masactrl_video.attention.session import AttentionControl
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.denoise import Alter, Denoising, FrameBatch
from masactrl_video.model.sampling.flow import FlowSchedule
from masactrl_video.render.grounds import StillGround, own_part


class StillFrame:
    """A frame on its way whose ground is not computed: from the second controlled step on, its own tokens are alone.

    At the first one the whole frame is computed, and its mask is found. From then on the figure is looked for among the
    tokens that are computed, and what they are at the next step follows from it.
    """

    def __init__(
        self, ground: StillGround, model: DiffusionModel, control: AttentionControl, schedule: Schedule
    ) -> None:
        self._ground, self._model, self._control, self._schedule = ground, model, control, schedule
        self._chosen: torch.Tensor | None = None
        self._number = 0
        self._maps: list[dict[str, torch.Tensor]] = []
        self._skips = False

    def step(
        self, denoising: Denoising, control: AttentionControl, batch: FrameBatch, step: int
    ) -> Iterator[Sequence[int]]:
        """As `StillGround.step`, of this one frame."""
        with self.computing(step):
            denoising.step(batch, step)
        yield [0]
        batch.latents = self._kept(control, batch.latents, step)

    def whole_for(self, alter: Alter) -> Alter:
        """`alter`, which sees the source's output where the frame has none."""
        return lambda output, latents, step: alter(self._whole(output, step), latents, step)

    def _whole(self, output: torch.Tensor, step: int) -> torch.Tensor:
        if not self._skips or self._chosen is None:
            return output
        before, after = self._ground.levels[self._number, step : step + 2].float()
        sigmas: torch.Tensor = cast(FlowSchedule, self._schedule).sigmas
        of_source = (after - before) / float(sigmas[step + 1] - sigmas[step])
        return torch.where(self._on_latents(output), output, of_source.to(output.dtype))

    @contextmanager
    def computing(self, step: int) -> Iterator[None]:
        """Inside the context, the denoiser's calls are of this frame's own tokens."""
        chosen = self._chosen if self._control.plan.layers_at(step) else None
        self._skips = chosen is not None and bool(chosen.any()) and not bool(chosen.all())
        if chosen is None or not self._skips:
            yield
            return
        backbone, denoiser = self._model.backbone, self._model.denoiser
        with (
            backbone.some_tokens(denoiser, chosen.flatten()),
            self._control.computing(chosen.flatten(), self._number, self._maps),
        ):
            yield

    def _kept(self, control: AttentionControl, latents: torch.Tensor, step: int) -> torch.Tensor:
        """Latents (1, channels, height, width) after a step, with the ground of the source."""
        covered = own_part(control)
        if covered is None:
            return latents
        grid = control.plan.layers[0].grid(control.latent_size)
        wanted = F.adaptive_max_pool2d(covered[:, None].float(), grid)[0, 0] > 0  # a token with any of its points
        made = wanted if not self._skips or self._chosen is None else wanted & self._chosen
        (self._number,), self._chosen = control.source_figures()[0], made
        of_source = self._ground.levels[self._number, step + 1].to(latents.dtype)
        latents = torch.where(self._on_latents(latents)[:, None], latents, of_source)
        self._chosen, self._maps = wanted, [dict(maps) for maps in control.figures.maps]
        return latents

    def _on_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """(1, height, width) bool: the points of the chosen tokens."""
        assert self._chosen is not None
        return F.interpolate(self._chosen[None, None].float(), size=latents.shape[-2:], mode="nearest")[0] > 0
