"""FLUX.1: two sources in one picture, each where its words are, against pictures side by side, by diffusers alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import side_by_side_flux
import tiny_flux
import torch
from side_by_side_flux import JointAttention, SideBySide, softmax_attention

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import plan_control
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.render.frames import FramesJob, denoise_chunk
from masactrl_video.settings.names import Ground, SourcePositions
from masactrl_video.sources.record import ObjectWords, cached_source
from masactrl_video.sources.source import GeneratedSource

STEPS, FROM, SCALE, THRESHOLD = 3, 1, 3.5, 0.4
SOURCES = {"bear": "a bear in the meadow", "panda": "a red panda on the beach"}
PROMPT, NEGATIVE = "a panda and a bear in the snow", "blue"


@dataclass(frozen=True)
class Case:
    size: tuple[int, int] = (64, 96)
    boxes: bool = False
    """Words are looked for inside halves of the picture alone."""
    guided: bool = False
    ground: Ground = "self"
    positions: SourcePositions = "as-is"
    layers: tuple[str, ...] = ("1", "2", "3", "4")

    @property
    def prompts(self) -> list[str]:
        """Of the sources and the frame."""
        return [*SOURCES.values(), PROMPT]


def words(model: DiffusionModel, prompt: str) -> list[tuple[int, ...]]:
    """Where those of each source stand."""
    return [find_words(model.tokenizer, prompt, [word]) if word in prompt else () for word in SOURCES]


def halves(grid: tuple[int, int]) -> list[torch.Tensor]:
    left = torch.arange(grid[1]).expand(grid) < grid[1] // 2
    return [left, ~left]


class ByWords(JointAttention):
    """Rows of a branch: the sources, and the frame, whose tokens ask the source whose word they look at most."""

    def __init__(
        self, name: str, state: SideBySide, case: Case, places: list[list[tuple[int, ...]]], maps: Any
    ) -> None:
        super().__init__(name, state)
        self.case, self.places, self.maps = case, places, maps

    def seen_so_far(self, row: int, source: int) -> torch.Tensor:
        """Of a row's tokens, how much they looked at a source's words in the layers before, between 0 and 1."""
        mean = torch.stack(self.maps[row, source]).mean(0)
        return (mean - mean.min()) / (mean.max() - mean.min())

    def put_in(self, q: Any, k: Any, v: Any, for_target: list[torch.Tensor], out: torch.Tensor) -> None:
        text, rows = self.state.text_tokens, self.state.rows
        figures = [self.seen_so_far(number, number) >= THRESHOLD for number in range(len(SOURCES))]
        scores = [self.seen_so_far(rows - 1, number) for number in range(len(SOURCES))]
        if self.case.boxes:
            scores = [score * half.flatten() for score, half in zip(scores, halves(self.state.grid), strict=True)]
        one, other = scores
        whose = torch.where((one >= THRESHOLD) & (one >= other), 0, torch.where(other >= THRESHOLD, 1, -1))
        assert {0, 1} <= set(whose.tolist()), "a source has no part in the picture: this case proves nothing"
        for first in range(0, len(q), rows):
            frame = first + rows - 1

            def beside(number: int, seen: torch.Tensor, first: int = first, frame: int = frame) -> torch.Tensor:
                """What the frame's picture gets of some of a source's tokens, with its own text."""
                k_s, v_s = for_target[0][first + number][:, text:][:, seen], v[first + number][:, text:][:, seen]
                keys, values = torch.cat([k[frame][:, :text], k_s], 1), torch.cat([v[frame][:, :text], v_s], 1)
                found: torch.Tensor = softmax_attention(q[frame][:, text:], keys, values)
                return found

            ground = out[frame][:, text:] if self.case.ground == "self" else beside(0, ~figures[0])
            for number, figure in enumerate(figures):
                ground = torch.where((whose == number)[:, None], beside(number, figure), ground)
            out[frame] = torch.cat([out[frame][:, :text], ground], 1)

    def look(self, q: torch.Tensor, k: torch.Tensor) -> None:
        """Keep what each picture's tokens, under its prompt, look at of the text alone, where that stands apart."""
        if not self.name.startswith("transformer_blocks."):
            return
        text, rows = self.state.text_tokens, self.state.rows
        for row, places in enumerate(self.places):
            asks, offers = q[len(q) - rows + row], k[len(k) - rows + row]
            weights = (asks[:, text:] @ offers[:, :text].mT / q.shape[-1] ** 0.5).softmax(-1).mean(0)
            for source, where in enumerate(places):
                if where:
                    self.maps.setdefault((row, source), []).append(weights[:, list(where)].sum(-1))


def render(case: Case, root: Path, model: DiffusionModel) -> tuple[torch.Tensor, list[int]]:
    """Latents of the sources and the frame, and how many tokens asked each source."""
    scheduler = make_scheduler(model, "flow", STEPS, case.size)
    plan = plan_control(
        model.denoiser, STEPS, masa_step=FROM, masa_layers=case.layers, mode="regions", positions=case.positions,
        mask_grid_divisor=2,
    )  # fmt: skip
    texts = [encode_prompt(model, p, NEGATIVE if case.guided else "", SCALE, case.size) for p in case.prompts]
    noise, height_width = initial_noise(model, case.size, 5), model.latent_size(*case.size)
    parts, latents = [], []
    for number, (prompt, text) in enumerate(zip(SOURCES.values(), texts, strict=False)):
        source = GeneratedSource(Denoising(model, text, SCALE, seed=5), scheduler, noise, None)
        tokens = words(model, prompt)[number]
        cached = cached_source(root, model, source, text.names, plan, ObjectWords(tokens))
        region = halves(height_width)[number] if case.boxes else None
        parts.append(SourcePart(cached, target_tokens=words(model, PROMPT)[number], region=region))
        latents.append(cached.latents)
    denoising = Denoising(model, texts[-1], SCALE, seed=5)
    job = FramesJob(
        denoising, scheduler, cached, noise, plan, [], MaskRule(threshold=THRESHOLD), parts=parts, ground=case.ground
    )
    with job.controlled() as control:
        frames = denoise_chunk(job, control, [[0]])
    control.check_fired(calls_per_step=1)
    return torch.cat([*latents, *frames]), [control.figures.owned[number] for number in range(len(SOURCES))]


def reference(case: Case, model: DiffusionModel, steps: list[int]) -> torch.Tensor:
    height, width = model.latent_size(*case.size)
    names = [layer.name for layer in model.backbone.layers(model.denoiser)]
    pipe: Any = model.pipe
    state = SideBySide(
        layers={names[int(number)] for number in case.layers},
        mode="regions",
        rows=len(case.prompts),
        text_tokens=tiny_flux.TOKENS,
        axes=pipe.transformer.config.axes_dims_rope,
        grid=(height // 2, width // 2),
        positions=case.positions,
    )
    maps: dict[tuple[int, int], list[torch.Tensor]] = {}
    places = [words(model, prompt) for prompt in case.prompts]
    branches = [[NEGATIVE] * state.rows] * case.guided + [case.prompts]
    hook = pipe.transformer.register_forward_pre_hook(lambda *_: maps.clear())
    try:
        return side_by_side_flux.run(
            pipe, state, branches, initial_noise(model, case.size, 5), steps, STEPS, SCALE,
            attention=partial(ByWords, case=case, places=places, maps=maps),
        )  # fmt: skip
    finally:
        hook.remove()


@pytest.mark.parametrize(
    "case",
    [
        Case(boxes=True, guided=True, size=(96, 64)),
        Case(ground="first", positions="shifted"),
        Case(guided=True, positions="free", layers=("2", "4")),
    ],
    ids=lambda case: str(case)[5:-1],
)
def test_two_sources_by_their_words_equal_pictures_side_by_side(case: Case, tmp_path: Path) -> None:
    model = DiffusionModel(tiny_flux.pipeline(guidance=not case.guided))
    made, owned = render(case, tmp_path, model)
    expected = reference(case, model, list(range(FROM, STEPS)))
    assert (made - expected).abs().max() < 1e-4
    assert (expected - reference(case, model, []))[-1].abs().max() > 1e-3  # the sources' influence could be missed
    assert min(owned) > 0
