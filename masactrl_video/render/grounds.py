"""What stands behind the figure, where that is not the source's ground alone (`background`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from masactrl_video.attention.session import AttentionControl
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
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

    def kept(self, control: AttentionControl, latents: torch.Tensor, step: int) -> torch.Tensor:
        """Latents (frames, channels, height, width) after a step, with the ground of the source.

        At a step that is not controlled no masks are known, and nothing is changed.
        """
        figure = control.figures.target_figure()
        if figure is None:
            return latents
        number, of_sources = control.source_figure()
        covered = grown(figure | of_sources, max(1, min(figure.shape[1:]) // _MARGIN))
        return torch.where(covered[:, None], latents, self.levels[number, step + 1].to(latents.dtype))


def grown(mask: torch.Tensor, points: int) -> torch.Tensor:
    """(frames, height, width) bool, and all that lies within so many points of it."""
    wide = F.max_pool2d(mask[:, None].float(), 2 * points + 1, stride=1, padding=points)
    return wide[:, 0] > 0
