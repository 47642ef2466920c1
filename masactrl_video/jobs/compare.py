"""One sheet of several methods from the same source (MasaCtrl, Fig. 6 and 7)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from masactrl_video.attention.baselines.lockstep import Lockstep
from masactrl_video.attention.baselines.plug_and_play import check_decoder, plug_and_play
from masactrl_video.attention.baselines.prompt_to_prompt import align_words, prompt_to_prompt
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.errors import UserError
from masactrl_video.jobs.baseline_denoising import check_strength, denoise_beside, denoise_noised
from masactrl_video.jobs.run.report import Tell
from masactrl_video.jobs.run.still_folder import SHEET
from masactrl_video.jobs.shared_source import SharedSource, record_sources
from masactrl_video.jobs.stills import (
    StillCanvas,
    StillTarget,
    check_target,
    plan_target,
    render_target,
    stills_run,
    write_source,
)
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.memory import enough_memory
from masactrl_video.model.sampling.latents import decode_latents, initial_noise
from masactrl_video.model.sampling.schedulers import timesteps_of
from masactrl_video.page.sheet import Panel, labelled_sheet
from masactrl_video.render.kept import check_kept
from masactrl_video.render.overflow import check_finite
from masactrl_video.settings.stills import StillSettings
from masactrl_video.sources.reference import ReferenceSource
from masactrl_video.sources.source import RealSource
from masactrl_video.video.png import read_png, write_png

METHODS = {
    "masactrl": "MasaCtrl",
    "fixed-seed": "fixed seed only",
    "sdedit": "SDEdit",
    "prompt-to-prompt": "Prompt-to-Prompt",
    "plug-and-play": "Plug-and-Play",
}
"""Part of a file name → label on the sheet, in the sheet's order."""


def compare(
    settings: StillSettings,
    folder: Path,
    *,
    overwrite: bool = False,
    model: DiffusionModel | None = None,
    tell: Tell = lambda event: None,
) -> dict[str, list[Path]]:
    """Make each target by each method, and a labelled sheet with a row for each target, in `folder`.

    Args:
        settings: of a generated source (`source_prompt`) or a given one (`source_image`) and its targets.
        folder: for the pictures; an interrupted run goes on.
        overwrite: replace what is there and begin anew.
        model: one that is loaded already.
        tell: called with what happens while it happens (see `report.Tell`).

    Returns:
        Method → the pictures of the targets (see `METHODS`), and `source` → those of their sources.

    Raises:
        UserError: anything in the settings or the folder cannot be used; nothing is half-written.
    """
    check_strength(settings.num_inference_steps, settings.sdedit_strength)
    if settings.reuse_deep_features is not None:
        raise UserError("reuse_deep_features: the other methods need the whole UNet at every step; leave it out")
    targets = [target for seed in settings.all_seeds for target in settings.targets(seed)]
    made: dict[str, list[Path]] = {name: [] for name in ("source", *METHODS)}
    with stills_run(
        "compare", settings, folder, targets, _check_target, overwrite=overwrite, model=model, tell=tell
    ) as run:
        model, canvas = run.model, run.canvas
        sources = _inverted_once(record_sources(targets, model, canvas))
        for number, (target, source) in enumerate(zip(targets, sources, strict=True), 1):
            several = f"-{source.group + 1}" if sources[-1].group else ""
            made["source"].append(folder / f"source{several}.png")
            write_source(target, model, source.recorded, made["source"][-1])
            planned = plan_target(target, model, canvas, source.planned, source.recorded)
            for at, name in enumerate(METHODS, 1):
                made[name].append(folder / f"target-{number}-{name}.png")
                _make(name, Comparison(planned, source, canvas), made[name][-1])
                run.report.picture((number - 1) * len(METHODS) + at, len(targets) * len(METHODS))
        _write_sheet(targets, made, folder / SHEET)
    return made


def _check_target(target: StillSettings, model: DiffusionModel) -> None:
    if any(layer.kind == "joint" for layer in model.backbone.layers(model.denoiser)):
        raise UserError(
            f"compare: the other methods work on Stable Diffusion's kind of network alone, not {model.backbone.title}; "
            "`synthesize` makes the targets"
        )
    check_decoder(model.denoiser)
    check_target(target, model)


def _inverted_once(sources: list[SharedSource]) -> list[SharedSource]:
    """Sources whose inversion, where there is one, serves all methods."""
    done: dict[int, RealSource] = {}
    for shared in sources:
        source = shared.planned.source
        if isinstance(source, RealSource) and shared.group not in done:
            done[shared.group] = source.inverted()
    return [
        replace(shared, planned=replace(shared.planned, source=done.get(shared.group, shared.planned.source)))
        for shared in sources
    ]


@dataclass(frozen=True)
class Comparison:
    """A target and all that the methods need of its source."""

    target: StillTarget
    source: SharedSource
    canvas: StillCanvas

    @property
    def settings(self) -> StillSettings:
        """Of the target."""
        return self.target.settings

    @property
    def guidance(self) -> PreparedControls | None:
        """Of the target."""
        return self.target.job.batch([0]).guidance


def _make(name: str, comparison: Comparison, path: Path) -> None:
    """One target by one method, unless an interrupted run has made it."""
    target = comparison.target
    text = target.text | {"method": METHODS[name]}
    if name in ("masactrl", "fixed-seed"):
        job = target.job if name == "masactrl" else replace(target.job, plan=ControlPlan((), ()))
        render_target(replace(target, job=job, text=text), path)
        return
    check_kept([path], text["made-from"])
    if path.exists():
        return
    with enough_memory(f"{METHODS[name]} on {target.job.denoising.model.device}"):
        latents = _LATENTS[name](comparison)
        model = target.job.denoising.model
        check_finite(latents, [METHODS[name]], model.dtype)
        write_png(path, decode_latents(model, latents)[0], text)


def _sdedit(comparison: Comparison) -> torch.Tensor:
    job, settings = comparison.target.job, comparison.settings
    recorded = comparison.source.recorded
    seed = (settings.seed + 1) % 2**32  # the noise that a generated source began with would lead back to it
    noise = initial_noise(job.denoising.model, comparison.canvas.size_px, seed)
    return denoise_noised(
        job.denoising, comparison.guidance, job.scheduler, recorded.latents, noise, settings.sdedit_strength
    )


def _prompt_to_prompt(comparison: Comparison) -> torch.Tensor:
    job, settings, planned = comparison.target.job, comparison.settings, comparison.source.planned
    model = job.denoising.model
    injected = prompt_to_prompt(
        model.denoiser,
        timesteps_of(job.scheduler),
        align_words(model.tokenizer, settings.prompt_of_source, settings.prompt),
        source_branches=planned.branches,
        branches=job.denoising.text.names,
        clock=job.denoising.model.clock,
        cross_steps=settings.p2p_cross_steps,
        self_steps=settings.p2p_self_steps,
    )
    return _beside(comparison, injected, METHODS["prompt-to-prompt"])


def _plug_and_play(comparison: Comparison) -> torch.Tensor:
    job, settings, planned = comparison.target.job, comparison.settings, comparison.source.planned
    injected = plug_and_play(
        job.denoising.model.denoiser,
        timesteps_of(job.scheduler),
        source_branches=planned.branches,
        branches=job.denoising.text.names,
        clock=job.denoising.model.clock,
        feature_steps=settings.pnp_feature_steps,
        attention_steps=settings.pnp_attention_steps,
    )
    return _beside(comparison, injected, METHODS["plug-and-play"])


def _beside(comparison: Comparison, injected: AbstractContextManager[Lockstep], method: str) -> torch.Tensor:
    """A target denoised beside its source, by one of the other methods."""
    source = comparison.source.planned.source
    assert not isinstance(source, ReferenceSource)  # such models are refused before
    return denoise_beside(source, comparison.target.job.denoising, comparison.guidance, injected, method)


_LATENTS: dict[str, Callable[[Comparison], torch.Tensor]] = {
    "sdedit": _sdedit,
    "prompt-to-prompt": _prompt_to_prompt,
    "plug-and-play": _plug_and_play,
}


def _write_sheet(targets: list[StillSettings], made: dict[str, list[Path]], path: Path) -> None:
    labels = {"source": "source", **METHODS}
    rows = [
        [Panel(label if number == 0 else "", read_png(made[name][number])) for name, label in labels.items()]
        for number in range(len(targets))
    ]
    several = len({target.seed for target in targets}) > 1
    names = [target.prompt + (f", seed {target.seed}" if several else "") for target in targets]
    write_png(path, labelled_sheet(rows, names if len(targets) > 1 else [], "" if len(targets) > 1 else names[0]))
