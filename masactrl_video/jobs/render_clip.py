"""The whole way of a clip: video → guidance → source → cache → render → encode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from masactrl_video.cache.holders import hold, release
from masactrl_video.controls.clip import FittedClip, fit_clip, open_selected
from masactrl_video.controls.extract import GuidanceBeside
from masactrl_video.controls.given import check_given
from masactrl_video.controls.plan import begin_guidance
from masactrl_video.controls.store import GuidanceFrames
from masactrl_video.engines.choose import engine_of
from masactrl_video.errors import StorageError, UserError
from masactrl_video.jobs.encode import check_sizes, encode_guidance, plan_encoding, videos_beside
from masactrl_video.jobs.run.folder import (
    MARK_NAME,
    Outputs,
    check_free,
    claimed,
    finish_whole,
    is_made,
    wait_for_another,
)
from masactrl_video.jobs.run.inputs import check_acts, check_character, check_inputs, check_models, check_prompt
from masactrl_video.jobs.run.log_file import RunLog, run_log
from masactrl_video.jobs.run.report import Report, Tell
from masactrl_video.progress import CancelToken, RenderProgress, carried, stopped_by
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.timeline import sources_alone
from masactrl_video.sources.cache_limit import check_cache, say_cache_size
from masactrl_video.sources.characters.caption import with_caption
from masactrl_video.video.png import write_png

if TYPE_CHECKING:
    from masactrl_video.cache.recorded_source import CachedSource
    from masactrl_video.encode.video import VideoPlan
    from masactrl_video.jobs.timeline import ClipSources
    from masactrl_video.model.diffusion import DiffusionModel
    from masactrl_video.render.executor import StartExecutor

# torch, diffusers and what stands on them are imported where the model is: all that can be wrong before is said at once

logger = logging.getLogger(__name__)


def render_clip(
    settings: Settings,
    output: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
    model: DiffusionModel | None = None,
    tell: Tell = lambda event: None,
    cancel: CancelToken | None = None,
    executor: StartExecutor | None = None,
) -> Outputs:
    """Render a clip to `output` and everything else into the folder of the same name beside it.

    A run that was interrupted goes on when it is called again with the same settings and output. While another process
    renders there, this one waits.

    Args:
        settings: see `masactrl_video.settings`.
        output: .mp4, .mov, .mkv, .webm or .gif.
        overwrite: replace an existing output; it stays until the new one is whole.
        restart: discard an interrupted run, also one with other settings, and begin anew.
        model: one that is loaded already; by default it is loaded as the settings say.
        tell: called with what happens while it happens (see `report.Tell`).
        cancel: its `cancel()`, from another thread, stops the run at the next step, as Ctrl-C does: what is done stays.
        executor: what renders the frames; by default what the settings' `engine` names does.

    Raises:
        UserError: anything in the settings, the clip or the output cannot be used; nothing is half-written.
        Cancelled: `cancel` has stopped it; the same call goes on.
    """
    outputs, replaced = Outputs(output), (overwrite, restart)
    with stopped_by(cancel), run_log() as log:
        report = Report(tell=log.beside(tell))
        settings = with_caption(settings)
        if _is_made_already(settings, outputs, replaced):
            return outputs
        check_inputs(settings, outputs.video, outputs.folder)
        _check_each(settings, lambda one: check_inputs(one, outputs.video, outputs.folder))
        check_prompt(settings)
        check_acts(settings)
        check_cache(settings)
        if model is None:
            check_models(settings)
            _check_each(settings, check_models)
        else:
            _check_each(settings, check_character)
        with engine_of(settings) as engine:
            with report.stage("load"):
                loaded = _loaded(settings, outputs, model)
            with claimed(outputs, settings, *replaced) as made_meanwhile:
                if made_meanwhile:
                    logger.info("%s was made meanwhile", outputs.video)
                else:
                    with log.written(outputs.log, settings.as_yaml_data()):
                        _make(settings, *loaded, outputs, report, log, executor or engine, overwrite=overwrite)
        return outputs


def _is_made_already(settings: Settings, outputs: Outputs, replaced: tuple[bool, bool]) -> bool:
    """Whether nothing is left to do; whatever is wrong with the output is said before hours of work.

    Args:
        replaced: whether an output is, and an interrupted run.
    """
    if finish_whole(outputs, settings):
        logger.info("%s was whole: only the end of its run was missing", outputs.video)
        return True
    check_free(outputs, settings, *replaced)
    if wait_for_another(outputs.folder):
        if is_made(outputs, settings):
            logger.info("%s was made meanwhile", outputs.video)
            return True
        check_free(outputs, settings, *replaced)
    return False


def _check_each(settings: Settings, check: Callable[[Settings], None]) -> None:
    """Check the settings of each source by itself."""
    for one in sources_alone(settings):
        try:
            check(one)
        except UserError as error:
            if settings.sources:
                raise UserError(f"sources, frame {one.source_frame}: {error}") from error
            raise


def _loaded(
    settings: Settings, outputs: Outputs, model: DiffusionModel | None
) -> tuple[DiffusionModel, FittedClip, VideoPlan]:
    """Model and clip, held against each other and against the settings."""
    selected = open_selected(settings)
    check_given(settings, selected)
    selected.check()
    plan = plan_encoding(settings, selected, outputs.video.suffix, audio=settings.audio)
    from masactrl_video.jobs.run.prompts import tell_prompts
    from masactrl_video.model.loading.from_settings import model_from_settings
    from masactrl_video.sources.control import check_source_used

    model = model or model_from_settings(settings)
    logger.debug("the model computes in %s on %s", model.dtype, model.device)
    clip = fit_clip(settings, selected, model)
    used = model
    _check_each(settings, lambda one: check_source_used(one, used))
    check_sizes(settings, clip, outputs.video.suffix)
    tell_prompts(settings, model)
    return model, clip, plan


def _make(
    settings: Settings,
    model: DiffusionModel,
    clip: FittedClip,
    plan: VideoPlan,
    outputs: Outputs,
    report: Report,
    log: RunLog,
    start: StartExecutor | None,
    *,
    overwrite: bool,
) -> None:
    """All stages. The report is there before the video, so that all is there when the video is."""
    from masactrl_video.jobs.render_frames import plan_render
    from masactrl_video.jobs.timeline import record_sources
    from masactrl_video.render.executor import LocalExecutor
    from masactrl_video.render.figures import figures_of
    from masactrl_video.render.kept import drop_damaged
    from masactrl_video.render.steps import RenderSteps

    with guidance_beside(settings, clip, outputs, report, plan) as (kinds, guidance_videos):
        guidance = [kinds[settings.controls[name].kind] for name in settings.guidance]

        def keep(frame: int, source: CachedSource) -> None:
            hold(source.entry.folder, outputs.folder / MARK_NAME)  # for when this run is stopped and goes on
            write_source_picture(settings, model, source, outputs.source_at(frame))

        with report.stage("source"):
            sources = record_sources(settings, model, clip, kinds, keep)
        drop_damaged([*outputs.frames(len(clip)), *outputs.masks(len(clip))])
        with videos_beside(settings, clip, kinds, outputs, overwrite, plan) as videos:
            with report.stage("render"):

                def tell(progress: RenderProgress) -> None:
                    videos.check()
                    report.tell({"stage": "render", **asdict(progress)})

                chunks, job = plan_render(settings, model, clip, guidance, sources, outputs)
                steps = RenderSteps(chunks.todo_frames, len(clip), settings.num_inference_steps, tell)
                with (start or LocalExecutor)(chunks, job, steps) as executor:
                    results = list(executor.map_unordered(chunks.chunks))
                    report.figures |= executor.figures()
                report.figures["render"] = figures_of(results, len(clip), chunks.batch_size, sources.planned.plan)
            made = [pictures.whole() for pictures in kinds.values()]
            report.figures |= describe(clip, made, sources)
            with report.stage("encode"):
                for video in guidance_videos:
                    video.result()
                videos.finish_side_by_side()
                report.figures["warnings"] = log.warnings
                report.write(outputs.report, model)
                videos.finish_result()
    for source in sources.recorded:
        release(source.entry.folder, outputs.folder / MARK_NAME)
    say_cache_size(settings)
    report.figures["warnings"] = log.warnings
    try:
        report.write(outputs.report, model)
    except (StorageError, OSError) as error:  # the video is there: the run has not failed
        logger.warning("%s; %s is without the time of encoding", error, outputs.report)


@contextmanager
def guidance_beside(
    settings: Settings, clip: FittedClip, outputs: Outputs, report: Report, plan: VideoPlan
) -> Iterator[tuple[dict[str, GuidanceBeside], list[Future[None]]]]:
    """Inside the context, guidance of each kind in use is made, and its video, beside whatever else is done.

    Controls of the same kind share its pictures. When the context ends the threads have ended, and after an exception
    what was unfinished is removed. Yields the guidance by its kind, and the videos, to be waited for.
    """
    with ThreadPoolExecutor(max(1, len(settings.kinds)), thread_name_prefix="guidance") as executor:
        kinds: dict[str, GuidanceBeside] = {}
        try:
            with report.stage("guidance"):
                video = outputs.guidance_video
                for kind in settings.kinds:
                    kinds[kind] = begin_guidance(settings, clip, kind, outputs.guidance(kind), executor)
                videos = [
                    executor.submit(carried(encode_guidance), settings, clip, pictures.paths(), video(kind), plan)
                    for kind, pictures in kinds.items()
                ]
                for pictures in kinds.values():
                    pictures.wait_for_first()  # a clip without anybody is refused before the source is made
            yield kinds, videos
        except BaseException:
            for pictures in kinds.values():
                pictures.stop()
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def write_source_picture(settings: Settings, model: DiffusionModel, source: CachedSource, path: Path) -> None:
    """The source as the model has made or reconstructed it."""
    from masactrl_video.jobs.render_frames import picture_text
    from masactrl_video.model.sampling.latents import decode_latents

    write_png(path, decode_latents(model, source.latents)[0], picture_text(settings))


def describe(clip: FittedClip, guidance: list[GuidanceFrames], sources: ClipSources) -> dict[str, object]:
    """Facts for the report that are not figures of one stage."""
    from masactrl_video.sources.live import is_live

    planned, source, along = sources.planned, sources.first, sources.along()
    return ({"sources": along} if along else {}) | {
        "fit": clip.fit.describe(),
        "frames_without_person": sorted({frame for kind in guidance for frame in kind.missing}),
        "controlled_steps": list(planned.plan.steps),
        "controlled_layers": [layer.name for layer in planned.plan.layers],
        "cache_entry": str(source.entry.folder),
        "cache_bytes": sum(file.bytes for file in source.entry.index.files.values()),
        "cache_error": source.storage_error,
        "source_storage": "live" if is_live(source.entry) else "cache",
        "inversion_error": planned.reconstruction_error(source),
    }
