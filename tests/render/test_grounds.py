"""A still ground: latents of the source wherever nobody stands, in the source and in the frame."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import torch

from masactrl_video.attention.session import AttentionControl
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
from masactrl_video.render.grounds import StillGround, grown


def square(row: int, column: int) -> torch.Tensor:
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, row : row + 4, column : column + 4] = True
    return mask


def control(figure: torch.Tensor | None, of_source: torch.Tensor, *numbers: int) -> AttentionControl:
    """Of a call on frames that follow sources of these numbers."""
    figures = SimpleNamespace(target_figure=lambda: figure, in_windows=lambda inside: inside, target_mask=None)
    stub: Any = SimpleNamespace(
        figures=figures, source_figures=lambda: (list(numbers), of_source), weights=[1.0], only=lambda *_: None
    )
    return cast(AttentionControl, stub)


def after_a_step(ground: StillGround, control: AttentionControl, latents: torch.Tensor, step: int) -> torch.Tensor:
    """Latents behind a step of a denoiser and a scheduler that leave them as they are."""
    idle: Any = SimpleNamespace(output=lambda batch, step, part: batch.latents, advance=lambda *_: None)
    batch = FrameBatch(latents, None, cast(Any, None))
    assert list(ground.step(cast(Denoising, idle), control, batch, step)) == [list(range(len(latents)))]
    return batch.latents


def test_latents_are_the_sources_where_neither_has_a_figure() -> None:
    levels = torch.arange(2 * 4.0).reshape(2, 4, 1, 1, 1).expand(2, 4, 3, 32, 32)
    latents, figure, of_source = torch.full((1, 3, 32, 32), -1.0), square(4, 4), square(20, 20)
    kept = after_a_step(StillGround(levels), control(figure, of_source, 1), latents, 2)
    covered = grown(figure | of_source, 2)  # a sixteenth of the side
    assert (kept[0, :, covered[0]] == -1).all()
    assert (kept[0, :, ~covered[0]] == 4 + 3).all()  # of the second source, after step 2
    assert covered.sum() == 2 * 8 * 8


def test_where_no_masks_are_known_nothing_is_changed() -> None:
    latents = torch.randn(2, 3, 32, 32)
    ground = StillGround(torch.zeros(1, 2, 3, 32, 32))
    assert after_a_step(ground, control(None, square(0, 0)), latents, 0) is latents
