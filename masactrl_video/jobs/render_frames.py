"""Stage 5: every frame, rendered against the recorded source."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from masactrl_video.controls.clip import FittedClip
from masactrl_video.controls.extract import GuidanceBeside
from masactrl_video.controls.plan import draw_people, draw_places, keep_clip, make_target_masks
from masactrl_video.controls.store import GuidanceFrames
from masactrl_video.errors import counted
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.jobs.timeline import ClipSources
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.versions import versions
from masactrl_video.render.fit_batch import largest_batch
from masactrl_video.render.frames import Beside, FramesJob
from masactrl_video.render.job import frames_job, made_from
from masactrl_video.render.kept import check_kept
from masactrl_video.render.plan import (
    ControlledWhere,
    ControlPictures,
    RenderPlan,
    cut_chunks,
    planned_settings,
)
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png_text

logger = logging.getLogger(__name__)

_BATCH_SIZE = "batch-size"
"""In a picture's text: the frames that went through the model together, before memory made them fewer."""


def plan_render(
    settings: Settings,
    model: DiffusionModel,
    clip: FittedClip,
    guidance: Sequence[GuidanceBeside],
    sources: ClipSources,
    outputs: Outputs,
) -> tuple[RenderPlan, FramesJob]:
    """How to render the frames that are not there yet (see `drop_damaged`), and what is open for it already.

    Raises:
        UserError: frames that are there were made from something else.
    """
    pictures, beside = outputs.frames(len(clip)), _beside(settings, model, clip, guidance, outputs.folder)
    planned, skeletons = sources.planned, sources.skeletons
    along = (sources.first, Beside(**beside), sources.later, sources.timeline, skeletons, sources.references)
    job = frames_job(settings, model, clip.size_px, guidance, planned.scheduler, planned.plan, *along)
    _say_shortcuts(settings)
    keys = [*(kind.key for kind in guidance), *(given.key for given in beside.values())]
    follows = (sources.first, sources.later, sources.timeline, skeletons, sources.references)
    names = made_from(model, job.denoising.text, keys, *follows)
    text = picture_text(settings) | {"made-from": names}
    check_kept(pictures, text["made-from"])
    batch_size = settings.batch_size
    if batch_size is None:
        batch_size = _batch_size(pictures, job, settings.chunk_frames)
        text[_BATCH_SIZE] = str(batch_size)
    made = [pictures, outputs.masks(len(clip))] if settings.save_masks else [pictures]
    path_of = [paths.__getitem__ for paths in made]
    kinds = [settings.controls[name].kind for name in settings.guidance]
    cuts, whole = sources.timeline.cuts(), settings.neighbour > 0
    plan = RenderPlan(
        made_from=versions(),
        settings=planned_settings(settings),
        frames=len(clip),
        size_px=clip.size_px,
        batch_size=batch_size,
        chunks=tuple(cut_chunks(len(clip), batch_size, settings.chunk_frames, path_of, cuts, whole=whole)),
        sources=sources.entries(),
        mixed_frames=sources.timeline.mixed_frames,
        control=ControlledWhere.of(planned.plan),
        controls=tuple(
            _pictures(kind, outputs.guidance(kind), shown.key) for kind, shown in zip(kinds, guidance, strict=True)
        ),
        skeletons=skeletons,
        **{name: _pictures(name, given.folder, given.key) for name, given in beside.items()},
        pictures=made[0][0].parent.absolute(),
        masks=made[1][0].parent.absolute() if settings.save_masks else None,
        text=text,
    )
    return plan, job


def _say_shortcuts(settings: Settings) -> None:
    steps = counted(settings.num_inference_steps, "step")
    if settings.unguided_steps:
        logger.info("skip_uncond: no unconditional branch in the last %d of %s", settings.unguided_steps, steps)
    if settings.reuse_deep_features is not None:
        whole = -(-settings.num_inference_steps // settings.reuse_deep_features)
        logger.info("reuse_deep_features: the whole UNet runs at %d of %s", whole, steps)


def _beside(
    settings: Settings, model: DiffusionModel, clip: FittedClip, guidance: Sequence[GuidanceBeside], folder: Path
) -> dict[str, GuidanceFrames]:
    """Pictures for each frame that the settings want, by the names of `Beside`; poses are waited for."""
    found: dict[str, GuidanceFrames] = {}
    kinds = [settings.controls[name].kind for name in settings.guidance]
    if settings.target_masks is not None:
        found["target_masks"] = make_target_masks(settings, clip, settings.target_masks, folder / "target-masks")
    if settings.background == "clip":
        found["clip"] = keep_clip(settings, clip, folder / "clip-frames")
    if settings.cast:
        found["whose"] = draw_people(settings, clip, guidance[kinds.index("pose")].whole(), folder / "whose")
    if settings.noise == "body":
        poses, grid = guidance[kinds.index("pose")].whole(), model.latent_size(*clip.size_px)
        found["places"] = draw_places(settings, clip, poses, grid, folder / "noise-places")
    return found


def _pictures(kind: str, folder: Path, key: str) -> ControlPictures:
    return ControlPictures(kind=kind, folder=folder.absolute(), key=key)


def _batch_size(frames: Sequence[Path], job: FramesJob, most: int) -> int:
    """What the frames of an interrupted run were cut by, so that the others come out the same; else what fits."""
    for path in frames:
        if path.exists():
            return int(read_png_text(path)[_BATCH_SIZE])
    return largest_batch(job, min(most, len(frames)))


def picture_text(settings: Settings) -> dict[str, str]:
    """Parameters in a picture's text chunks: for people, in the form they know, and complete as JSON."""
    parameters = (
        f"{settings.prompt}\nNegative prompt: {settings.negative_prompt}\nSteps: {settings.num_inference_steps}, "
        f"Sampler: {settings.scheduler}, CFG scale: {settings.guidance_scale:g}, Seed: {settings.seed}, "
        f"Model: {settings.model}"
    )
    return {"parameters": parameters, "masactrl-video": json.dumps(settings.as_yaml_data(), ensure_ascii=False)}
