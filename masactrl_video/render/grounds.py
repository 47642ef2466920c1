"""What stands behind the figure, where that is not the source's ground alone (`background`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from masactrl_video.attention.session import AttentionControl
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.backbones.window import Window, window_around
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.clean import predicted_clean, with_clean
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
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
    margin: int | None = None
    """Of networks that can: a frame's own part and so many latent points around it are denoised alone, as if they were
    the picture; None: the whole picture always is."""
    skips: bool = False
    """Of other networks: tokens that are the source's are not computed, see `StillFrame`."""

    def step(
        self, denoising: Denoising, control: AttentionControl, batch: FrameBatch, step: int
    ) -> Iterator[Sequence[int]]:
        """Take a batch through a denoising step.

        Frames with windows of the same size are in one call, so that no frame depends on its batch.

        Yields:
            The rows of each call, behind it.
        """
        windows = self._windows(control, batch, step)
        found = [torch.zeros_like(batch.latents[:1])] * len(windows)
        figures: list[torch.Tensor | None] = [None] * len(windows)
        own, ground = list(figures), list(found)
        weights, mask = control.weights, control.figures.target_mask
        for rows in _alike(windows):
            part = {row: window for row in rows if (window := windows[row]) is not None}
            is_all = not part and len(rows) == len(windows)
            if not is_all:
                control.only(rows, weights, mask, list(part.values()))
            output = denoising.output(batch, step, None if is_all else {row: windows[row] for row in rows})
            yield rows
            figure, covered = control.figures.target_figure(), own_part(control)
            followed = [0] * len(rows) if figure is None else control.source_figures()[0]
            for place, (row, number) in enumerate(zip(rows, followed, strict=True)):
                found[row] = output[place][None]
                if (window := part.get(row)) is not None:
                    rest = self._foretelling(number, batch, row, step)
                    found[row] = window.placed(found[row], rest.to(output.dtype))
                if figure is not None and covered is not None:
                    figures[row], own[row] = figure[place], covered[place]
                    ground[row] = self.levels[number, step + 1][None]
        control.only(range(len(windows)), weights, mask, ())
        batch.figure, batch.own_part = _stacked(figures), _stacked(own)
        denoising.advance(batch, torch.cat(found), step)
        if batch.own_part is not None:
            kept = torch.cat(ground).to(batch.latents.dtype)
            batch.latents = torch.where(batch.own_part[:, None], batch.latents, kept)

    def _windows(self, control: AttentionControl, batch: FrameBatch, step: int) -> list[Window | None]:
        """Of each frame what is denoised alone, if not the whole."""
        if self.margin is None or batch.own_part is None or not control.plan.layers_at(step):
            return [None] * len(batch.latents)
        return [window_around(inside, self.margin) for inside in batch.own_part]

    def _foretelling(self, number: int, batch: FrameBatch, row: int, step: int) -> torch.Tensor:
        """An output of the denoiser (1, channels, height, width) that foretells the picture of a source."""
        latents = batch.latents[row][None]
        nothing = torch.zeros_like(latents)
        foretold = predicted_clean(batch.scheduler, nothing, latents, step)
        return with_clean(batch.scheduler, nothing, self.levels[number, -1].float() - foretold, step)


def _alike(windows: Sequence[Window | None]) -> list[list[int]]:
    """Rows whose windows are of the same size."""
    found: dict[tuple[int, int] | None, list[int]] = {}
    for row, window in enumerate(windows):
        found.setdefault(None if window is None else (window.height, window.width), []).append(row)
    return list(found.values())


def _stacked(rows: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    known = [row for row in rows if row is not None]
    return torch.stack(known) if known else None


def own_part(control: AttentionControl) -> torch.Tensor | None:
    """Where frames of the last call, or their sources, have figures, and a margin around: (frames, height, width) bool.

    None at a step that is not controlled: no masks are known there.
    """
    figure = control.figures.target_figure()
    if figure is None:
        return None
    _, of_sources = control.source_figures()
    covered = grown(figure | of_sources, max(1, min(figure.shape[1:]) // _MARGIN))
    return control.figures.in_windows(covered)


def grown(mask: torch.Tensor, points: int) -> torch.Tensor:
    """(frames, height, width) bool, and all that lies within so many points of it."""
    wide = F.max_pool2d(mask[:, None].float(), 2 * points + 1, stride=1, padding=points)
    return wide[:, 0] > 0
