"""Every family of transformers: the cached render equals a replay at torch's attention, and the plain pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import replayed
import torch
from PIL import Image
from tiny_families import FAMILIES, FLUX2_KV, REFERENCED, Family, pipeline

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.render.frames import Beside, FramesJob, denoise_chunk
from masactrl_video.sources.record import ObjectWords, cached_source
from masactrl_video.sources.source import GeneratedSource

STEPS = 3
SOURCE_PROMPT, PROMPT, NEGATIVE = "a bear in the meadow", "a frog on the beach", "blue"


@dataclass(frozen=True)
class Case:
    family: Family
    size: tuple[int, int] = (64, 64)
    mode: str = "source"
    guided: bool = False
    controls: int = 0
    masa_step: int = 1
    masa_layer: int = 0
    words: bool = False
    kept: int = 0
    """References that are kept, by klein-kv."""

    @property
    def scale(self) -> float:
        """Above it, guidance is real."""
        return 3.5 if self.guided else self.family.unguided_scale

    def __str__(self) -> str:
        shape = f"{self.size[0]}x{self.size[1]}"
        return (
            f"{self.family.name}-{self.mode}-{shape}"
            + "-guided" * self.guided
            + "-control" * self.controls
            + "-kept" * self.kept
        )


def cases() -> list[Any]:
    """Each mode, with and without ControlNets, both kinds of guidance, square and wide."""
    found = []
    for family in FAMILIES:
        nets = 2 if family.control is not None else 0
        found += [
            Case(family, guided=family.guides),
            Case(family, size=(64, 96), mode="union", controls=nets),
            Case(family, mode="regions", masa_layer=1),
            Case(family, size=(96, 64), mode="masked", guided=family.guides, controls=min(nets, 1)),
        ]
    return [pytest.param(case, id=str(case)) for case in found]


def with_references() -> list[Any]:
    """Of FLUX.2: each mode beside reference pictures, and beside kept references."""
    klein, dev = REFERENCED
    found = [
        Case(klein, guided=True, controls=1),
        Case(klein, size=(64, 96), mode="union", controls=2),
        Case(klein, mode="regions", masa_layer=1, controls=1),
        Case(klein, size=(96, 64), mode="masked", guided=True, controls=2),
        Case(dev, size=(64, 96), controls=2),
        Case(FLUX2_KV, size=(64, 96), kept=1),
        Case(FLUX2_KV, mode="union", kept=2),
        Case(FLUX2_KV, mode="masked", kept=1),
    ]
    return [pytest.param(case, id=str(case)) for case in found]


def each() -> Any:
    found = [
        Case(family, guided=kind, masa_step=0)
        for family in FAMILIES
        for kind in (False, True)
        if family.guides or not kind
    ]
    return pytest.mark.parametrize("case", [pytest.param(case, id=str(case)) for case in found])


def load(case: Case) -> DiffusionModel:
    pipe, networks = pipeline(case.family.name), []
    if case.family.control is not None:
        networks = [case.family.control(pipe, 5 + number) for number in range(case.controls)]
        networks[1:] = [replace(network, name="canny", end=0.7) for network in networks[1:]]
    model = DiffusionModel(pipe, tuple(networks))
    random = np.random.default_rng(2)
    shown = [random.integers(0, 255, (64, 80, 3), dtype=np.uint8) for _ in range(case.kept)]
    references = [model.backbone.record_reference(model, picture) for picture in shown]
    return replace(model, references=model.backbone.join_references(model, references))


def pictures(case: Case) -> list[np.ndarray]:
    """Control images of the source and two frames, for each network."""
    random = np.random.default_rng(1)
    return [random.integers(0, 255, (3, *case.size, 3), dtype=np.uint8) for _ in range(case.controls)]


def make_plan(model: DiffusionModel, case: Case) -> ControlPlan:
    return plan_control(
        model.denoiser,
        STEPS,
        masa_step=case.masa_step,
        masa_layer=case.masa_layer,
        mode=case.mode,
        mask_grid_divisor=2 if case.words else None,
    )


def objects(model: DiffusionModel, case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of source and targets on the latents' grid."""
    height, width = model.latent_size(*case.size)
    source, target = torch.zeros(2, height, width, dtype=torch.bool)
    source[:4, :6], target[2:, 4:] = True, True
    return source, target


def render(case: Case, root: Path, prompt: str = PROMPT) -> tuple[torch.Tensor, CachedSource, dict[str, Any]]:
    """Two frames in two batches of one, against the cache."""
    model = load(case)
    scheduler, plan = make_scheduler(model, case.family.scheduler, STEPS, case.size), make_plan(model, case)
    negative = NEGATIVE if case.guided else ""
    own, text = (encode_prompt(model, p, negative, case.scale, case.size) for p in (SOURCE_PROMPT, prompt))
    guide = pictures(case)
    source = GeneratedSource(
        Denoising(model, own, case.scale, seed=5),
        scheduler,
        initial_noise(model, case.size, 5),
        model.prepare_controls([g[:1] for g in guide]) if guide else None,
    )
    source_words, words = (
        find_words(model.tokenizer, p, [word]) if case.words else ()
        for p, word in ((SOURCE_PROMPT, "bear"), (prompt, "frog"))
    )
    cached = cached_source(root, model, source, own.names, plan, ObjectWords(source_words))
    masks, given, parts = None, None, []
    if case.words:
        masks = MaskRule(target_tokens=words)
    elif case.mode == "masked":
        masks = MaskRule(source_mask=objects(model, case)[0])
        given = [objects(model, case)[1].numpy()[..., None].repeat(3, 2).astype(np.uint8) * 255] * 3
    elif case.mode == "regions":
        of_source, of_target = objects(model, case)
        parts = [SourcePart(cached, mask=of_source, region=of_target)]
    denoising = Denoising(model, text, case.scale, seed=5)
    guides = [list(g) for g in guide]
    job = FramesJob(denoising, scheduler, cached, cached.initial_noise, plan, guides, masks, Beside(given), parts=parts)
    with job.controlled() as control:
        out = denoise_chunk(job, control, [[1], [2]])
    return torch.cat(out), cached, control.check_fired(calls_per_step=2)


def reference(case: Case, prompt: str = PROMPT) -> torch.Tensor:
    """[source, frame 1, frame 2]."""
    model = load(case)
    plan = make_plan(model, case)
    height, width = (side // 2 for side in model.latent_size(*case.size))
    replay = replayed.Replay({layer.name for layer in plan.layers}, case.mode, case.family.picture, height * width)
    if case.mode in ("masked", "regions"):
        replay.source_object, replay.target_object = (m[::2, ::2].flatten() for m in objects(model, case))
    negative, guide = NEGATIVE if case.guided else "", pictures(case)
    runs = []
    for number, words in enumerate([SOURCE_PROMPT, prompt, prompt]):
        text = encode_prompt(model, words, negative, case.scale, case.size)
        own = [pictures[number : number + 1] for pictures in guide]
        runs.append((text, model.prepare_controls(own) if own else None))
    scheduler = make_scheduler(model, case.family.scheduler, STEPS, case.size)
    noise, reads = initial_noise(model, case.size, 5), case.family.controls_read_prompt
    return replayed.run(model, scheduler, replay, runs, noise, set(plan.steps), case.scale, controls_read_prompt=reads)


@pytest.mark.parametrize("case", [*cases(), *with_references()])
def test_the_cached_render_equals_a_replay_picture_by_picture(case: Case, tmp_path: Path) -> None:
    frames, cached, figures = render(case, tmp_path)
    expected = reference(case)
    assert (torch.cat([cached.latents, frames]) - expected).abs().max() < 1e-4
    model = load(case)
    plan = make_plan(model, case)
    calls = 2 if case.guided and model.backbone.calls_each_branch else 1
    assert figures["controlled_attention_calls"] == 2 * calls * len(plan.steps) * len(plan.layers)
    assert len(plan.layers) == case.family.layers - case.masa_layer
    uncontrolled = reference(replace(case, masa_step=STEPS))
    assert (expected - uncontrolled)[1:].abs().max() > 1e-3  # control has an effect that could have been missed


@each()
def test_s_past_the_end_is_the_plain_pipeline(case: Case, tmp_path: Path) -> None:
    case = replace(case, masa_step=STEPS, size=(64, 96))
    frames, _, figures = render(case, tmp_path)
    pipe, noise = pipeline(case.family.name), initial_noise(load(case), case.size, 5)
    plain = case.family.plain(pipe, PROMPT, NEGATIVE if case.guided else None, case.scale, case.size, STEPS, noise)
    assert figures["controlled_attention_calls"] == 0
    assert torch.equal(frames[:1], plain)


@pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in REFERENCED])
@pytest.mark.parametrize("guided", [False, True])
def test_s_past_the_end_is_the_plain_pipeline_given_the_same_pictures(
    family: Any, guided: bool, tmp_path: Path
) -> None:
    """One picture, and two; each stands at its own place."""
    guided = guided and family.guides
    case = Case(family, (64, 96), guided=guided, controls=1 + (not guided), masa_step=STEPS)
    model, shown = load(case), pictures(case)
    networks = tuple(replace(network, end=1.0) for network in model.networks)
    model, noise = replace(model, networks=networks), initial_noise(model, case.size, 5)
    scheduler = make_scheduler(model, "flow", STEPS, case.size)
    text = encode_prompt(model, PROMPT, NEGATIVE if guided else "", case.scale, case.size)
    batch = FrameBatch.from_noise(noise, model.prepare_controls([kind[1:2] for kind in shown]), scheduler)
    for step in range(STEPS):
        Denoising(model, text, case.scale, seed=5).step(batch, step)
    images = [Image.fromarray(kind[1]) for kind in shown]
    negative = NEGATIVE if guided else None
    plain: Any = family.plain
    own = plain(pipeline(family.name), PROMPT, negative, case.scale, case.size, STEPS, noise, image=images)
    assert torch.equal(batch.latents, own)


@each()
def test_from_the_first_step_in_all_layers_the_source_comes_again(case: Case, tmp_path: Path) -> None:
    frames, cached, _ = render(case, tmp_path, SOURCE_PROMPT)
    assert (frames - cached.latents).abs().max() < 1e-5


@pytest.mark.parametrize("case", [pytest.param(Case(f, guided=f.guides, masa_step=0), id=f.name) for f in FAMILIES])
def test_a_word_makes_the_mask(case: Case, tmp_path: Path) -> None:
    """Keys and values count behind the first map."""
    backbone, denoiser = load(case).backbone, load(case).denoiser
    first = backbone.map_layers(backbone.layers(denoiser), 2)[0].index
    case = replace(case, mode="masked", words=True, masa_layer=first + 1)
    frames, cached, figures = render(case, tmp_path)
    maps = cached.read(1).object_map
    assert maps is not None
    assert 0 <= float(maps.min()) < float(maps.max()) <= 1
    assert figures["controlled_attention_calls"] > 0
    without, _, _ = render(replace(case, mode="source", words=False), tmp_path)
    assert (frames - without).abs().max() > 1e-4
