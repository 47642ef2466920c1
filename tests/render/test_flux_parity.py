"""FLUX.1: the cached render equals source and targets run side by side, and the plain pipeline where nothing acts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import side_by_side_flux
import tiny_flux
import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.model.backbones.flux.controls import FluxControlNetwork
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.poses.named_poses import named_pose
from masactrl_video.poses.warp import Skeleton, Skeletons
from masactrl_video.render.frames import Beside, FramesJob, denoise_chunk
from masactrl_video.sources.record import ObjectWords, cached_source
from masactrl_video.sources.source import GeneratedSource

STEPS, SCALE = 3, 3.5
SOURCE_PROMPT, PROMPT, NEGATIVE = "a bear in the meadow", "a frog on the beach", "blue"


@dataclass(frozen=True)
class Case:
    size: tuple[int, int] = (64, 64)
    mode: str = "source"
    distilled: bool = False
    controls: int = 0
    masa_step: int = 1
    masa_layer: int = 0
    masa_layers: tuple[str, ...] | None = None
    positions: Any = "as-is"
    real: float = 1.0
    """Real guidance beside the distilled one."""
    moved: tuple[tuple[int, int], ...] = ()
    """Tokens by which the person has gone down and to the right in each frame, with the positions `pose`."""

    @property
    def negative(self) -> str:
        return "" if self.distilled and self.real == 1 else NEGATIVE


@cache
def _pipe(distilled: bool) -> Any:
    return tiny_flux.pipeline(guidance=distilled)


def load(case: Case) -> DiffusionModel:
    pipe = _pipe(case.distilled)
    networks = [
        FluxControlNetwork("pose", tiny_flux.controlnet(pipe.transformer, seed=5, modes=6), 0.7),
        FluxControlNetwork("canny", tiny_flux.controlnet(pipe.transformer, seed=6), 0.9, 0.0, 0.7),
    ]
    return DiffusionModel(pipe, tuple(networks[: case.controls]))


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
        masa_layers=case.masa_layers,
        mode=case.mode,
        positions=case.positions,
    )


def objects(model: DiffusionModel, case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of source and targets on the latents' grid."""
    height, width = model.latent_size(*case.size)
    source, target = torch.zeros(2, height, width, dtype=torch.bool)
    source[:4, :6], target[2:, 4:] = True, True
    return source, target


def giant(case: Case, down: int = 0, right: int = 0) -> Skeleton:
    """A person who fills the picture and more, gone so many tokens down and to the right."""
    height, width = case.size
    body = named_pose("standing").transform(
        lambda xy: (xy / 512 - 0.5) * 16 * max(case.size) + [width / 2 + 16 * right, height / 2 + 16 * down],
        width_px=width,
        height_px=height,
    )
    return Skeleton.of(body)


def render(case: Case, root: Path, prompt: str = PROMPT) -> tuple[torch.Tensor, CachedSource, dict[str, Any]]:
    """Two frames in two batches of one, against the cache."""
    model = load(case)
    scheduler, plan = make_scheduler(model, "flow", STEPS, case.size), make_plan(model, case)
    own, text = (encode_prompt(model, p, case.negative, SCALE, case.size, case.real) for p in (SOURCE_PROMPT, prompt))
    scale = case.real if case.real > 1 else SCALE
    guide = pictures(case)
    source = GeneratedSource(
        Denoising(model, own, scale, seed=5),
        scheduler,
        initial_noise(model, case.size, 5),
        model.prepare_controls([g[:1] for g in guide]) if guide else None,
    )
    cached = cached_source(root, model, source, own.names, plan, ObjectWords(()))
    masks = MaskRule(source_mask=objects(model, case)[0]) if case.mode == "masked" else None
    denoising = Denoising(model, text, scale, seed=5)
    given = [objects(model, case)[1].numpy()[..., None].repeat(3, 2).astype(np.uint8) * 255] * 3 if masks else None
    guides = [list(g) for g in guide]
    job = FramesJob(denoising, scheduler, cached, cached.initial_noise, plan, guides, masks, Beside(given))
    if case.mode == "regions":
        figure, region = objects(model, case)
        job = replace(job, parts=[SourcePart(cached, region=region, mask=figure)], masks=MaskRule(threshold=0.5))
    if case.moved:
        own = giant(case)
        job = replace(job, skeletons=Skeletons((own,), (own, *(giant(case, *moved) for moved in case.moved))))
    with job.controlled() as control:
        out = denoise_chunk(job, control, [[1], [2]])
    return torch.cat(out), cached, control.check_fired(calls_per_step=2)


def reference(case: Case, prompt: str = PROMPT) -> torch.Tensor:
    """[source, frame 1, frame 2]."""
    model = load(case)
    pipe: Any = model.pipe
    height, width = model.latent_size(*case.size)
    state = side_by_side_flux.SideBySide(
        layers={layer.name for layer in make_plan(model, case).layers},
        mode=case.mode,
        rows=3,
        text_tokens=tiny_flux.TOKENS,
        axes=pipe.transformer.config.axes_dims_rope,
        grid=(height // 2, width // 2),
        positions=case.positions,
        moved=case.moved,
    )
    if case.mode in ("masked", "regions"):
        state.source_object, state.target_object = (m[::2, ::2].flatten() for m in objects(model, case))
    prompts = [SOURCE_PROMPT, prompt, prompt]
    branches = [[case.negative] * 3, prompts] if case.negative else [prompts]
    guide = [torch.from_numpy(g).permute(0, 3, 1, 2) / 127.5 - 1 for g in pictures(case)]
    vae = pipe.vae

    def residuals(arguments: dict[str, Any], step: int) -> dict[str, Any]:
        """As `FluxMultiControlNetModel` sums them, but with each network's own time."""
        summed: Any = None
        for network, pixels in zip(model.networks, guide, strict=True):
            if step / STEPS < network.start or (step + 1) / STEPS > network.end:
                continue
            mean = vae.encode(pixels).latent_dist.mean
            packed = pipe._pack_latents((mean - 0.11) * 0.36, 3, 4, height, width)
            mode = torch.full((len(packed), 1), 4) if network.module.union else None
            of_prompt = {
                name: value[-len(packed) :] if isinstance(value, torch.Tensor) and not name.endswith("ids") else value
                for name, value in arguments.items()
            }
            found = network.module(
                controlnet_cond=packed, controlnet_mode=mode, conditioning_scale=network.scale, **of_prompt
            )
            found = [[one.repeat(len(branches), 1, 1) for one in samples] for samples in found]
            summed = found if summed is None else [
                [a + b for a, b in zip(one, two, strict=True)] for one, two in zip(summed, found, strict=True)
            ]  # fmt: skip
        if summed is None:
            return {}
        return {"controlnet_block_samples": summed[0], "controlnet_single_block_samples": summed[1]}

    noise = initial_noise(model, case.size, 5)
    steps = list(range(case.masa_step, STEPS))
    real = case.real if case.real > 1 else None
    return side_by_side_flux.run(pipe, state, branches, noise, steps, STEPS, SCALE, residuals, real)


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(distilled=True, size=(64, 112)),
        Case(mode="union", size=(96, 64)),
        Case(mode="union", distilled=True, masa_layer=2),
        Case(mode="masked", size=(64, 96)),
        Case(controls=2, distilled=True),
        Case(controls=1, mode="union"),
        Case(positions="shifted", mode="union"),
        Case(positions="free", size=(64, 96)),
        Case(masa_layers=("transformer_blocks.1", "3"), masa_step=0),
        Case(mode="regions", size=(64, 96)),
        Case(mode="regions", distilled=True, controls=1),
        Case(mode="regions", positions="pose", moved=((0, 1), (0, 0)), masa_layer=1),
        Case(distilled=True, real=2.5),
        Case(distilled=True, real=2.5, mode="masked", controls=1, size=(64, 96)),
        Case(positions="pose", moved=((0, 2), (-1, 0))),
        Case(positions="pose", mode="union", distilled=True, moved=((1, 1), (0, 0)), size=(64, 96)),
        Case(positions="pose", mode="masked", moved=((0, 1), (2, -3)), size=(96, 64)),
    ],
    ids=lambda case: str(case)[5:-1],
)
def test_the_cached_render_equals_source_and_targets_side_by_side(case: Case, tmp_path: Path) -> None:
    frames, cached, figures = render(case, tmp_path)
    expected = reference(case)
    assert (torch.cat([cached.latents, frames]) - expected).abs().max() < 1e-4
    plan = make_plan(load(case), case)
    assert figures["controlled_attention_calls"] == 2 * len(plan.steps) * len(plan.layers)
    uncontrolled = reference(replace(case, masa_step=STEPS))
    assert (expected - uncontrolled)[1:].abs().max() > 1e-3  # control has an effect that could have been missed


@pytest.mark.parametrize(("distilled", "real_scale"), [(True, 1.0), (False, 1.0), (True, 2.5)])
def test_s_past_the_end_is_the_plain_pipeline(distilled: bool, real_scale: float, tmp_path: Path) -> None:
    case = Case(distilled=distilled, masa_step=STEPS, size=(64, 96), real=real_scale)
    frames, _, figures = render(case, tmp_path)
    pipe, noise = _pipe(distilled), initial_noise(load(case), case.size, 5)
    real = {"negative_prompt": NEGATIVE, "true_cfg_scale": real_scale if distilled else SCALE} if case.negative else {}
    plain = pipe(
        PROMPT, height=64, width=96, num_inference_steps=STEPS, guidance_scale=SCALE, output_type="latent",
        max_sequence_length=tiny_flux.TOKENS, latents=pipe._pack_latents(noise, 1, 4, 8, 12), **real,
    ).images  # fmt: skip
    plain = pipe._unpack_latents(plain, 64, 96, 8)
    assert figures["controlled_attention_calls"] == 0
    assert torch.equal(frames[:1], plain)


@pytest.mark.parametrize("distilled", [True, False])
def test_from_the_first_step_in_all_layers_the_source_comes_again(distilled: bool, tmp_path: Path) -> None:
    frames, cached, _ = render(Case(distilled=distilled, masa_step=0), tmp_path, SOURCE_PROMPT)
    assert (frames - cached.latents).abs().max() < 1e-5


def test_another_source_makes_another_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _, _ = render(Case(), tmp_path)
    monkeypatch.setitem(globals(), "SOURCE_PROMPT", "a panda in the snow")
    second, _, _ = render(Case(), tmp_path)
    assert (first - second).abs().max() > 1e-4
