"""The demo model: our frames against diffusers' and the official way, streamed against held, and what is not exact."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from clip import Clip
from demo_model import PROMPT, WORDS, load_clip, plan_for
from frames_by import ours, recomputed
from numpy.typing import NDArray
from turns import by_turns, cpu_seconds, ratio

from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.demo.clip import HERO, clip_frames
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.unet.controls import GuidanceNetwork, prepare_guidance
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.taesd import load_taesd
from masactrl_video.model.prompts import find_words
from masactrl_video.model.sampling.latents import decode_latents, encode_picture
from masactrl_video.render.chunks import render_frames
from masactrl_video.render.frames import FramesJob
from masactrl_video.settings.modes import OWN_NAMES
from masactrl_video.settings.names import CacheDtype
from masactrl_video.settings.presets import with_scaled_step
from masactrl_video.sources.record import cached_source
from masactrl_video.sources.source import GeneratedSource
from masactrl_video.video.png import write_png

PLAIN = "plain"


def measure_frames(weights: Path, steps: int, rounds: int) -> dict[str, Any]:
    """Ratios of a frame's time, alone and in batches of two and of four.

    Against the official way, whose batch is the source and a frame: one frame of ours alone, and two in a batch.
    """
    clip, out = load_clip(weights, 4, steps), {}
    words = find_words(clip.model.pipe.tokenizer, PROMPT, WORDS)
    with tempfile.TemporaryDirectory() as root:
        source = clip.record(Path(root), plan_for(clip, "masked"), words)
        for size in (1, 2, 4):
            frames, plain = range(size), clip.plain()
            ways: dict[str, Any] = {PLAIN: lambda f=frames, p=plain: p(f)}
            for mode in OWN_NAMES:
                job = clip.job(source, plan_for(clip, mode), words if mode == "masked" else ())
                ways[mode] = ours(job, frames)
            if size < 4:
                ways["recomputed"] = recomputed(clip, plan_for(clip, "source"), 0)
            times = by_turns(ways, rounds)
            pairs = [("source", PLAIN), ("union", PLAIN), ("masked", PLAIN), ("masked", "source")]
            ratios = {f"{way} ÷ {other}": ratio(times, way, other) for way, other in pairs}
            if "recomputed" in ways:
                ratios["source ÷ recomputed"] = ratio(times, "source", "recomputed", work=size)
            out[str(size)] = {
                "ratios": ratios,
                "cpu_seconds_a_frame": {way: cpu_seconds(times, way) / size for way in ways if way != "recomputed"},
            }
    return out


def measure_feed(weights: Path, steps: int, rounds: int) -> dict[str, Any]:
    """Rendering in small chunks, so that the source is read again and again: streamed against held in memory."""
    clip = load_clip(weights, 8, steps)
    plan = plan_for(clip, "source")
    with tempfile.TemporaryDirectory() as root:
        job, figures = clip.job(clip.record(Path(root), plan), plan), {}

        def render(name: str, memory_bytes: int) -> Any:
            with tempfile.TemporaryDirectory() as folder:
                paths = [Path(folder) / f"{n}.png" for n in range(8)]
                kept = {"batch_size": 2, "chunk_frames": 2, "text": {}, "cache_memory_bytes": memory_bytes}
                figures[name] = render_frames(job, paths, **kept)["cache"]  # type: ignore[arg-type]

        ways = {"held": lambda: render("held", 1 << 33), "streamed": lambda: render("streamed", 0)}
        times = by_turns(ways, rounds)
    return {"ratio": ratio(times, "streamed", "held"), "figures": figures}


def measure_options(weights: Path, steps: int, rounds: int, picture: Path | None) -> dict[str, Any]:
    """What each option that is not exact saves, and how far its frames are from the exact ones."""
    clip = load_clip(weights, 4, steps)
    with tempfile.TemporaryDirectory() as root:
        ways = {name: ours(job, range(4)) for name, job in _variants(clip, weights, steps, Path(root)).items()}
        times = by_turns(ways, rounds, warm_up=1)
    frames = {name: times[name][-1].result for name in ways}
    if picture is not None:
        write_png(picture, np.concatenate([made[1] for made in frames.values()], axis=1))
    return {
        name: {"ratio": ratio(times, name, "exact"), **_error(made, frames["exact"])} for name, made in frames.items()
    }


def measure_decoding(weights: Path, rounds: int, picture: Path | None) -> dict[str, Any]:
    """Decoding a picture of twice the model's sides: at once, in tiles, by a tiny autoencoder; so in `picture` too."""
    model = load_clip(weights, 1, 1).model
    preview = replace(model, preview=load_taesd(str(weights / "taesd"), model.vae, torch.float32, model.device))
    (frame,) = clip_frames(HERO, "waving", 1, 2 * model.unet.config.sample_size * model.vae_scale_factor)
    latents = encode_picture(model, frame.image)

    def decoded(tiled: bool) -> NDArray[np.uint8]:
        (model.vae.enable_tiling if tiled else model.vae.disable_tiling)()
        return decode_latents(model, latents)

    ways = {
        "at once": lambda: decoded(False),
        "--vae-tiling": lambda: decoded(True),
        "--taesd demo/taesd": lambda: decode_latents(preview, latents),
    }
    times = by_turns(ways, rounds)
    made = {name: taken[-1].result for name, taken in times.items()}
    if picture is not None:
        write_png(picture, np.concatenate([pictures[0] for pictures in made.values()], axis=1))
    return {
        f"{name}, decoding alone": {"ratio": ratio(times, name, "at once"), **_error(made[name], made["at once"])}
        for name in list(ways)[1:]
    }


def _variants(clip: Clip, weights: Path, steps: int, root: Path) -> Mapping[str, FramesJob]:
    """Jobs by name; the exact one first."""
    plan = plan_for(clip, "source")
    exact = clip.job(_recorded(clip, root, "exact"), plan)
    jobs = {"exact": exact}
    for part in (0.25, 0.5):
        jobs[f"--skip-uncond {part}"] = replace(
            exact, denoising=replace(exact.denoising, unguided_steps=round(part * steps))
        )
    for every in (2, 3):
        reused = replace(exact.denoising, whole_every=every)
        jobs[f"--reuse-deep-features {every}"] = replace(exact, denoising=reused, plan=replace(plan, whole_every=every))
    for dtype in get_args(CacheDtype)[1:]:
        jobs[f"--cache-dtype {dtype}"] = replace(exact, source=_recorded(clip, root, dtype))
    half = load_clip(weights, len(clip.pictures), steps)
    jobs["--dtype bfloat16"] = _in(half, root, dtype=torch.bfloat16)
    other = load_clip(weights, len(clip.pictures), steps)
    jobs["--channels-last"] = _in(other, root, memory_format=torch.channels_last)
    some, few = steps // 2, max(1, steps // 5)
    for name, fewer in (("ddim", some), ("dpm++", some), ("unipc", some), ("dpm++", few)):
        jobs[f"--scheduler {name} --num-inference-steps {fewer}"] = _fewer(clip, root, name, steps, fewer)
    unguided = replace(clip, text=clip.text.branch(1), guidance_scale=1.0)
    jobs[f"--scheduler lcm --num-inference-steps {few} --guidance-scale 1"] = _fewer(unguided, root, "lcm", steps, few)
    return jobs


def _recorded(clip: Clip, root: Path, dtype: CacheDtype) -> CachedSource:
    guidance = prepare_guidance(clip.model.networks, [clip.pictures[:1]])
    source = GeneratedSource(clip.denoising, clip.scheduler, clip.noise, guidance)
    return cached_source(root, clip.model, source, GUIDED, plan_for(clip, "source"), dtype=dtype)


def _in(clip: Clip, root: Path, **form: Any) -> FramesJob:
    """The same in another number or memory format."""
    pipe, network = clip.model.pipe, clip.model.networks[0]
    for part in (pipe.unet, pipe.vae, network.module):
        part.to(**form)
    text = replace(clip.text, hidden_states=clip.text.hidden_states.to(pipe.unet.dtype))
    model = DiffusionModel(pipe, (GuidanceNetwork(network.name, network.module),))
    clip = replace(clip, model=model, text=text)
    return clip.job(_recorded(clip, root, "exact"), plan_for(clip, "source"))


def _fewer(clip: Clip, root: Path, scheduler: str, steps: int, fewer: int) -> FramesJob:
    """Fewer steps by another scheduler, with S at the same fraction of them, as the command line has it."""
    masa_step = with_scaled_step({"num_inference_steps": steps, "masa_step": 2}, {"num_inference_steps": fewer})
    clip = replace(clip, num_inference_steps=fewer, scheduler_name=scheduler)
    plan = plan_for(clip, "source", int(masa_step.get("masa_step", 2)))
    return clip.job(clip.record(root, plan), plan)


def _error(made: NDArray[np.uint8], exact: NDArray[np.uint8]) -> dict[str, float]:
    """How far pictures are from the exact ones, in levels of 255."""
    difference = made.astype(np.float64) - exact
    squared = float(np.square(difference).mean())
    return {
        "mean_levels": float(np.abs(difference).mean()),
        "max_levels": float(np.abs(difference).max()),
        "psnr_db": float(10 * np.log10(255**2 / squared)) if squared else float("inf"),
    }
