"""A still ground whose tokens are not computed: what is computed sees the source there, and the rest is the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_flux
import torch
from tiny_families import QWEN, SD3, pipeline

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import plan_control
from masactrl_video.attention.session import AttentionControl
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.flux.controls import FluxControlNetwork
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.render.frames import Beside, FramesJob, denoise_chunk
from masactrl_video.render.grounds import StillGround
from masactrl_video.render.still_frame import StillFrame
from masactrl_video.sources.record import ObjectWords, cached_source
from masactrl_video.sources.source import GeneratedSource

STEPS, SCALE, PROMPT, NEGATIVE = 4, 3.5, "a bear in the meadow", "blue"


def flux() -> DiffusionModel:
    pipe = tiny_flux.pipeline()
    return DiffusionModel(pipe, (FluxControlNetwork("pose", tiny_flux.controlnet(pipe.transformer, modes=6), 0.7),))


def of_family(family: Any) -> DiffusionModel:
    pipe = pipeline(family.name)
    return DiffusionModel(pipe, (family.control(pipe, 5),))


MODELS: dict[str, Callable[[], DiffusionModel]] = {
    "flux": cache(flux),
    "sd3": cache(lambda: of_family(SD3)),
    "qwen": cache(lambda: of_family(QWEN)),
}


@dataclass(frozen=True)
class Case:
    model: str = "flux"
    size: tuple[int, int] = (64, 96)
    words: bool = False
    """Masks are found by words; else they are given."""
    guided: bool = True
    layers: tuple[str, ...] = ("1", "2")
    positions: Any = "as-is"

    @property
    def scale(self) -> float:
        return SCALE if self.guided else 1.0


def made(case: Case, root: Path, all_layers: bool = True) -> tuple[FramesJob, CachedSource, list[np.ndarray]]:
    """Three frames from other noise than the source's, and its control picture."""
    model, random = MODELS[case.model](), np.random.default_rng(1)
    scheduler = make_scheduler(model, "flow", STEPS, case.size)
    divisor = 2 if case.words else None
    plan = plan_control(
        model.denoiser, STEPS, masa_step=1, masa_layers=case.layers, mode="masked", positions=case.positions,
        mask_grid_divisor=divisor,
    )  # fmt: skip
    text = encode_prompt(model, PROMPT, NEGATIVE if case.guided else "", case.scale, case.size)
    pictures = [random.integers(0, 255, (3, *case.size, 3), dtype=np.uint8)]
    denoising = Denoising(model, text, case.scale, seed=5)
    guide = model.prepare_controls([pictures[0][:1]])
    source = GeneratedSource(denoising, scheduler, initial_noise(model, case.size, 5), guide)
    words = find_words(model.tokenizer, PROMPT, ["bear"]) if case.words else ()
    recorded = replace(plan, layers=model.backbone.layers(model.denoiser)) if all_layers else plan
    cached = cached_source(root, model, source, text.names, recorded, ObjectWords(words), levels=True)
    height, width = model.latent_size(*case.size)
    own = torch.zeros(height, width, dtype=torch.bool)
    own[:2, :3] = True
    masks, given = MaskRule(target_tokens=words, threshold=0.8), None
    if not case.words:
        given = [np.zeros((*case.size, 3), np.uint8) for _ in range(3)]
        given[1][24:40, 40:56], given[2][:, 64:80] = 255, 255
        masks = MaskRule(source_mask=own)
    assert cached.levels is not None
    still = StillGround(cached.levels[None], skips=True)
    job = FramesJob(
        denoising, scheduler, cached, initial_noise(model, case.size, 6), plan, [list(pictures[0])], masks,
        Beside(given), background="still", still_ground=still,
    )  # fmt: skip
    return job, cached, pictures


def frames(job: FramesJob) -> tuple[torch.Tensor, list[int]]:
    """Latents of the second and third frame, and how many tokens each call computed."""
    counts: list[int] = []
    hook = job.denoising.model.denoiser.proj_out.register_forward_pre_hook(  # type: ignore[union-attr,operator]
        lambda _, args: counts.append(args[0].shape[1])
    )
    try:
        with job.controlled() as control:
            out = torch.cat(denoise_chunk(job, control, [[1], [2]]))
        control.check_fired(calls_per_step=2)
    finally:
        hook.remove()
    return out, counts


def blocks(model: DiffusionModel) -> list[torch.nn.Module]:
    """All through which the picture's tokens go, in forward order."""
    names = ("transformer_blocks", "single_transformer_blocks")
    return [block for name in names for block in getattr(model.denoiser, name, ())]


@contextmanager
def before_blocks(model: DiffusionModel, act: Callable[[int, torch.Tensor], torch.Tensor | None]) -> Iterator[None]:
    """Inside the context, the picture's hidden states before each block are what `act` makes of them, if anything."""

    def hook(number: int) -> Any:
        def change(_: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            changed = act(number, kwargs["hidden_states"])
            return None if changed is None else (args, kwargs | {"hidden_states": changed})

        return change

    with ExitStack() as stack:
        for number, block in enumerate(blocks(model)):
            stack.callback(block.register_forward_pre_hook(hook(number), with_kwargs=True).remove)
        yield


def states_of_source(job: FramesJob, cached: CachedSource, picture: np.ndarray) -> dict[int, list[torch.Tensor]]:
    """Step → the source's hidden states before each block, in the order of the calls."""
    model, found = job.denoising.model, {}
    assert cached.levels is not None
    for step in range(STEPS):
        seen: list[torch.Tensor] = []
        with (
            before_blocks(model, lambda _, states, seen=seen: seen.append(states)),
            model.clock.at(step),
            torch.no_grad(),
        ):  # type: ignore[misc]
            model.backbone.predict(
                model, cached.levels[step][None], job.scheduler.timesteps[step], job.denoising.text,
                model.prepare_controls([picture]), step, STEPS,
            )  # fmt: skip
        found[step] = seen
    return found


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(guided=False, layers=("0", "1", "2", "3", "4"), positions="shifted"),
        Case(words=True, layers=("2", "4")),
        Case(guided=False, positions="free"),
        Case("sd3"),
        Case("qwen", layers=("1",)),
    ],
    ids=lambda case: f"{case.model}-{'words' if case.words else 'given'}-{case.positions}",
)
def test_what_is_computed_sees_the_source_where_nothing_is(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as if all were computed, and the ground's tokens were those of the source again before each block."""
    job, cached, pictures = made(case, tmp_path)
    out, counts = frames(job)
    total = case.size[0] * case.size[1] // 256
    assert min(counts) < total / 2 or case.words
    assert min(counts) < total
    source = states_of_source(job, cached, pictures[0][:1])
    model = job.denoising.model

    @contextmanager
    def whole(self: StillFrame, step: int) -> Iterator[None]:
        chosen = self._chosen if self._control.plan.layers_at(step) else None
        self._skips = chosen is not None
        if chosen is None:
            yield
            return
        calls, ground = iter(source[step]), ~chosen.flatten()

        def put(_: int, states: torch.Tensor) -> torch.Tensor:
            states = states.clone()
            states[:, ground] = next(calls)[:, ground]
            return states

        with before_blocks(model, put):
            yield

    monkeypatch.setattr(StillFrame, "computing", whole)
    expected, all_of_them = frames(job)
    assert set(all_of_them) == {total}
    assert (out - expected).abs().max() < 1e-4
    assert cached.levels is not None
    outside = (out == cached.levels[-1]).all(dim=1)
    assert outside.any(dim=(1, 2)).all()
    plain, _ = frames(replace(job, still_ground=replace(job.still_ground, skips=False)))  # type: ignore[type-var]
    assert (plain - out).abs().max() > 1e-3  # the ground that is seen is another


def test_outside_of_the_figures_frames_are_the_source_to_the_bit(tmp_path: Path) -> None:
    job, cached, _ = made(Case(), tmp_path)
    out, counts = frames(job)
    assert cached.levels is not None
    is_source = (out == cached.levels[-1]).all(dim=1)
    figure = torch.zeros(2, 8, 12, dtype=torch.bool)
    figure[0, 2:6, 4:8], figure[1, :, 6:12] = True, True  # one point around each, and whole tokens
    figure[:, :4, :4] = True  # of the source
    assert torch.equal(is_source, ~figure)
    tokens = [int(one[::2, ::2].sum()) for one in figure]
    free, acting = [24] * 4, [24] * 2  # the step before the source acts has a call for each branch
    assert counts == [*free, *acting, *tokens, *tokens]


def test_frames_of_a_batch_are_the_same_one_by_one(tmp_path: Path) -> None:
    job, _, _ = made(Case(), tmp_path)
    together, _ = frames(job)
    with job.controlled() as control:
        alone = denoise_chunk(job, control, [[2]])
    assert torch.equal(together[1:], alone[0])
    assert job.apart([range(1, 3), range(3, 4)]) == [[1], [2], [3]]
    with job.controlled() as control, pytest.raises(RuntimeError, match="tokens of its own"):
        denoise_chunk(job, control, [[1, 2]])


def test_a_source_without_all_layers_is_refused(tmp_path: Path) -> None:
    job, _, _ = made(Case(), tmp_path, all_layers=False)
    with pytest.raises(UserError, match=r"recorded without layer transformer_blocks\.0"), job.controlled():
        pass


def test_hooks_come_off_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _, _ = made(Case(), tmp_path)
    network = job.denoising.model.denoiser
    monkeypatch.setattr(AttentionControl, "_attend_before_ground", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), job.controlled() as control:
        denoise_chunk(job, control, [[1]])
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
