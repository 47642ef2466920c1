"""What stands behind the figure, where that is not the source's ground alone (`background`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F

from masactrl_video.attention.session import AttentionControl
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.denoise import Alter
from masactrl_video.model.sampling.flow import FlowSchedule
from masactrl_video.model.sampling.invert import Trajectory, invert
from masactrl_video.model.sampling.latents import encode_picture
from masactrl_video.video.frame import Pictures

_MARGIN = 16
"""A still ground keeps so great a part of the shorter side away from figures: masks of words end below hats."""


@dataclass(frozen=True, eq=False)
class ClipGround:
    """`clip`: the ground attends to the clip's own frame, inverted."""

    frames: Pictures
    """The clip's, at the frames' size."""
    text: TextCondition
    """One branch, under which they are inverted: the null prompt."""

    def inverted(self, model: DiffusionModel, scheduler: Schedule, frames: Sequence[int]) -> Trajectory:
        """Latents of a batch's frames at every noise level, each (frames, channels, height, width)."""
        pictures = torch.cat([encode_picture(model, np.asarray(self.frames[frame])) for frame in frames])
        return invert(model, pictures, self.text, scheduler, of="frame")

    def look(self, model: DiffusionModel, scheduler: Schedule, levels: Trajectory, step: int) -> None:
        """Run the denoiser on the clip's frames at a step; whoever looks at its layers sees what they offer."""
        num_steps = len(scheduler.timesteps)
        with torch.no_grad(), model.clock.at(step):
            latents = scheduler.scale_model_input(levels.latents[step], scheduler.timesteps[step])
            model.backbone.predict(model, latents, scheduler.timesteps[step], self.text, None, step, num_steps)


@dataclass(frozen=True, eq=False)
class StillGround:
    """`still`: latents of the source itself wherever neither it nor the frame has a figure."""

    levels: torch.Tensor
    """(sources, steps + 1, channels, height, width): latents of each source before each step, and at the end."""
    skips: bool = False
    """Whether tokens that are the source's are not computed, where its keys and values are known in all layers."""

    def covered(self, control: AttentionControl) -> tuple[int, torch.Tensor] | None:
        """The source whose ground it is, and (frames, height, width) bool: what the frames of the last call keep.

        None at a step that is not controlled, where no masks are known.
        """
        figure = control.figures.target_figure()
        if figure is None:
            return None
        number, of_sources = control.source_figure()
        return number, grown(figure | of_sources, max(1, min(figure.shape[1:]) // _MARGIN))

    def kept(self, control: AttentionControl, latents: torch.Tensor, step: int) -> torch.Tensor:
        """Latents (frames, channels, height, width) after a step, with the ground of the source.

        At a step that is not controlled no masks are known, and nothing is changed.
        """
        found = self.covered(control)
        if found is None:
            return latents
        number, covered = found
        return self.outside(covered, number, latents, step)

    def outside(self, covered: torch.Tensor, number: int, latents: torch.Tensor, step: int) -> torch.Tensor:
        """Latents (frames, channels, height, width) after a step, those of a source where nothing is covered."""
        return torch.where(covered[:, None], latents, self.levels[number, step + 1].to(latents.dtype))


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

    @contextmanager
    def computing(self, step: int) -> Iterator[None]:
        """Inside the context, the denoiser's calls are this frame's."""
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

    def kept(self, control: AttentionControl, latents: torch.Tensor, step: int) -> torch.Tensor:
        """Latents (1, channels, height, width) after a step, with the ground of the source."""
        found = self._ground.covered(control)
        if found is None:
            return latents
        number, covered = found
        grid = control.plan.layers[0].grid(control.latent_size)
        wanted = F.adaptive_max_pool2d(covered[:, None].float(), grid)[0, 0] > 0  # a token with any of its points
        made = wanted if not self._skips or self._chosen is None else wanted & self._chosen
        self._number, self._chosen = number, made
        latents = self._ground.outside(self._on_latents(latents), number, latents, step)
        self._chosen, self._maps = wanted, [dict(maps) for maps in control.figures.maps]
        return latents

    def _on_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """(1, height, width) bool: the points of the chosen tokens."""
        assert self._chosen is not None
        return F.interpolate(self._chosen[None, None].float(), size=latents.shape[-2:], mode="nearest")[0] > 0


def grown(mask: torch.Tensor, points: int) -> torch.Tensor:
    """(frames, height, width) bool, and all that lies within so many points of it."""
    wide = F.max_pool2d(mask[:, None].float(), 2 * points + 1, stride=1, padding=points)
    return wide[:, 0] > 0
