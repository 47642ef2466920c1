"""What all still pictures share: their size, their source, and a target against it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.attention.plan import ControlPlan
from masactrl_video.cache.holders import hold
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.controls.clip import fit_for, read_fitted
from masactrl_video.controls.single_pose import pose_picture, shape_of_pose
from masactrl_video.errors import UserError
from masactrl_video.jobs.render_frames import picture_text
from masactrl_video.jobs.run.inputs import check_inputs, check_prompt
from masactrl_video.jobs.run.prompts import tell_prompts
from masactrl_video.jobs.run.report import Report, Tell
from masactrl_video.jobs.run.still_folder import SHEET, check_still_folder, claimed_folder
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.model.sampling.latents import decode_latents
from masactrl_video.poses.warp import Skeletons
from masactrl_video.render.chunks import render_frames
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.job import frames_job, made_from
from masactrl_video.render.kept import check_kept
from masactrl_video.settings.stills import StillSettings
from masactrl_video.sources.cache_limit import check_cache
from masactrl_video.sources.control import plan_attention
from masactrl_video.sources.plan import PlannedSource, plan_source, recorded_references
from masactrl_video.sources.skeletons import pair_of_skeletons
from masactrl_video.sources.source import RealSource
from masactrl_video.storage.fingerprint import hash_bytes
from masactrl_video.video.image_folder import read_image
from masactrl_video.video.png import write_png
from masactrl_video.video.target_size import choose_size

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StillCanvas:
    """The size of a source and its targets; there is no clip (a `Canvas`)."""

    size_px: tuple[int, int]
    """Height and width."""

    def frame(self, n: int, /) -> NDArray[np.uint8]:
        """There is none.

        Raises:
            UserError: always.
        """
        raise UserError(f"source clip: still pictures have no frame {n}; give source_image")


@dataclass(frozen=True)
class StillRun:
    """What a run of still pictures works with."""

    model: DiffusionModel
    canvas: StillCanvas
    report: Report


@contextmanager
def stills_run(
    command: str,
    settings: StillSettings,
    folder: Path,
    targets: Sequence[StillSettings],
    check: Callable[[StillSettings, DiffusionModel], None],
    *,
    overwrite: bool,
    model: DiffusionModel | None,
    tell: Tell,
) -> Iterator[StillRun]:
    """Inside the context the folder is ours; all that can be wrong with the targets is said before.

    Args:
        command: see `claimed_folder`.
        check: sees that a target can be made with the model.

    Raises:
        UserError: anything in the settings or the folder cannot be used.
    """
    check_still_folder(folder, settings, overwrite)
    for target in targets:
        check_inputs(target, folder)
        check_prompt(target)
    check_cache(settings)
    report = Report(tell=tell)
    with report.stage("load"):
        report.model = model = model or model_from_settings(settings)
        canvas = open_canvas(settings, model)
        for target in targets:
            check(target, model)
            target_skeletons(target, canvas)
    with claimed_folder(folder, command, settings, overwrite, report):
        tell_prompts(targets, model)
        yield StillRun(model, canvas, report)


def open_canvas(settings: StillSettings, model: DiffusionModel) -> StillCanvas:
    """The size to work at: the given picture's shape, or else the first guidance picture's, near the model's area.

    Raises:
        UserError: a picture that cannot be read, or a side that the model cannot have.
    """
    guidance = [
        *settings.source_guidance.items(),
        *((kind, path) for kind, paths in settings.target_guidance.items() for path in paths),
    ]
    if settings.source_image is None and not guidance:
        width, height = choose_size(
            1.0, settings.width, settings.height, size_factor=model.size_factor, native_area_px=model.native_area_px
        )
        return StillCanvas((height, width))
    if settings.source_image is not None:
        height, width = read_image(settings.source_image).shape[:2]
    elif guidance[0][0] == "pose":
        height, width = shape_of_pose(str(guidance[0][1]), Path(), "guidance pose")
    else:
        height, width = read_image(guidance[0][1]).shape[:2]
    fit = fit_for(settings, model, width, height)
    return StillCanvas((fit.height_px, fit.width_px))


def one_target(settings: StillSettings, command: str) -> StillSettings:
    """The only target.

    Raises:
        UserError: there are several.
    """
    targets = [target for seed in settings.all_seeds for target in settings.targets(seed)]
    if len(targets) > 1:
        raise UserError(f"{command}: it varies one target, got {len(targets)}; give one prompt, seed and guidance")
    return targets[0]


def check_target(settings: StillSettings, model: DiffusionModel) -> None:
    """See that a target can be made, before anything is computed.

    Raises:
        UserError: no prompt, or steps, layers, words or guidance that do not go together.
    """
    plan_attention(settings, with_weights(settings, model))


def with_weights(settings: StillSettings, model: DiffusionModel) -> DiffusionModel:
    """The model with its networks' weights and ranges as the settings say."""
    controls = [settings.controls[name] for name in settings.guidance]
    return replace(
        model,
        networks=tuple(
            replace(network, scale=control.scale, start=control.start, end=control.end)
            for network, control in zip(model.networks, controls, strict=True)
        ),
    )


def plan_still(settings: StillSettings, model: DiffusionModel, canvas: StillCanvas) -> PlannedSource:
    """The source of a target: generated under its own guidance picture, if there is one, or inverted.

    Args:
        settings: of one target (see `StillSettings.targets`).

    Raises:
        UserError: see `plan_source`.
    """
    model = _guided_by(settings, with_weights(settings, model), list(settings.source_guidance))
    guidance = _pictures(settings, model, settings.source_guidance, canvas)
    prompt = settings.prompt_of_source
    own = settings.model_copy(update={"source_frame": 0, "source_prompt": prompt, "noise": "shared"})
    planned = plan_source(own, model, canvas, guidance)
    if isinstance(planned.source, RealSource):
        inverted = replace(planned.source, iterations=settings.inversion_iterations, replayed=settings.replay)
        planned = replace(planned, source=inverted)
    return planned


@dataclass(frozen=True)
class StillTarget:
    """One target against its recorded source."""

    settings: StillSettings
    job: FramesJob
    text: dict[str, str]
    """For its picture's text chunks."""


Guidance = Sequence[Sequence[NDArray[np.uint8]]]
"""One guidance picture for each network that has one, RGB (height, width, 3)."""


def target_guidance(settings: StillSettings, model: DiffusionModel, canvas: StillCanvas) -> Guidance:
    """The guidance pictures of one target."""
    paths = {kind: paths[0] for kind, paths in settings.target_guidance.items()}
    return _pictures(settings, _guided_by(settings, model, list(paths)), paths, canvas)


def plan_target(
    settings: StillSettings, model: DiffusionModel, canvas: StillCanvas, planned: PlannedSource, source: CachedSource
) -> StillTarget:
    """Everything that a target's picture is made from.

    Args:
        settings: of one target.
    """
    pictures, skeletons = target_guidance(settings, model, canvas), target_skeletons(settings, canvas)
    return join_target(settings, model, canvas, pictures, (planned.scheduler, planned.plan), source, skeletons)


def join_target(
    settings: StillSettings,
    model: DiffusionModel,
    canvas: StillCanvas,
    pictures: Guidance,
    control: tuple[Schedule, ControlPlan],
    source: CachedSource,
    skeletons: Skeletons | None,
) -> StillTarget:
    """The same where all has been read already.

    Args:
        pictures: see `target_guidance`.
        control: the scheduler, and where the source is used.
        skeletons: see `target_skeletons`.
    """
    guided = _guided_by(settings, with_weights(settings, model), list(settings.target_guidance))
    shared_noise, beside = settings.model_copy(update={"noise": "shared"}), recorded_references(settings, model)
    job = frames_job(
        shared_noise, guided, canvas.size_px, pictures, *control, source, skeletons=skeletons, references=beside
    )
    keys = [hash_bytes(picture.tobytes()) for (picture,) in pictures]
    made = made_from(guided, job.denoising.text, keys, source, skeletons=skeletons, references=beside)
    text = picture_text(settings) | {"made-from": made}
    return StillTarget(settings, job, text)


def target_skeletons(settings: StillSettings, canvas: StillCanvas) -> Skeletons | None:
    """Of a target and its source, where keys go with the limbs."""
    given = (settings.source_guidance.get("pose"), *settings.target_guidance.get("pose", [])[:1])
    source, target = (None if path is None else str(path) for path in (*given, None)[:2])
    return pair_of_skeletons(settings, source, target, canvas.size_px)


def render_target(target: StillTarget, path: Path) -> None:
    """Make a target's picture by mutual self-attention, unless an interrupted run has made it."""
    check_kept([path], target.text["made-from"])
    render_frames(target.job, [path], batch_size=1, chunk_frames=1, text=target.text)


def write_source(settings: StillSettings, model: DiffusionModel, source: CachedSource, path: Path) -> None:
    """The source as the model has made or reconstructed it, with the parameters that made it.

    Its cache entry is held for the run whose folder this is, until that is complete.
    """
    hold(source.entry.folder, path.parent / "config.yaml", path.parent / SHEET)
    own = settings.model_copy(update={"prompt": settings.prompt_of_source, "prompts": []})
    write_png(path, decode_latents(model, source.latents)[0], picture_text(own))


def record_still(settings: StillSettings, model: DiffusionModel, planned: PlannedSource) -> CachedSource:
    """The recorded source, from the cache or recorded now."""
    return planned.record(model, settings)


def _guided_by(settings: StillSettings, model: DiffusionModel, kinds: Sequence[str]) -> DiffusionModel:
    """The model with those of its networks for which there is a picture."""
    used = [settings.controls[name].kind in kinds for name in settings.guidance]
    return replace(model, networks=tuple(n for n, use in zip(model.networks, used, strict=True) if use))


def _pictures(
    settings: StillSettings, model: DiffusionModel, paths: dict[str, Path], canvas: StillCanvas
) -> list[list[NDArray[np.uint8]]]:
    """One guidance picture for each network of the model."""
    return [[_picture(settings, network.name, paths[network.name], canvas)] for network in model.networks]


def _picture(settings: StillSettings, kind: str, path: Path, canvas: StillCanvas) -> NDArray[np.uint8]:
    if kind == "pose":
        return pose_picture(settings, str(path), canvas.size_px, Path(), "guidance pose")
    return read_fitted(settings, path, canvas.size_px, as_numbers=True)
