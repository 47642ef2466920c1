"""The whole way of a comic: story → cast → cache → panels → pages."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masactrl_video.cache.holders import hold
from masactrl_video.engines.choose import each_of
from masactrl_video.jobs.comic.outputs import ComicOutputs, check_comic_free, comic_claimed
from masactrl_video.jobs.comic.plan import PlannedPanel, plan_panels, styled
from masactrl_video.jobs.run.inputs import check_models
from masactrl_video.jobs.run.report import Report, Tell
from masactrl_video.page.compose import compose_page
from masactrl_video.page.files import write_cbz, write_page, write_pdf
from masactrl_video.page.story import Story
from masactrl_video.page.story_file import pages_with_panels, settings_of
from masactrl_video.settings.guidance_parts import GuidanceSettings
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.cache_limit import check_cache, say_cache_size
from masactrl_video.storage.replace import replacing
from masactrl_video.storage.text import encodable
from masactrl_video.video.png import read_png, write_png

if TYPE_CHECKING:  # torch and diffusers are loaded once the story, its files and the output are in order
    from masactrl_video.cache.recorded_source import CachedSource
    from masactrl_video.engines.work import Each
    from masactrl_video.jobs.comic.cast import CastMember
    from masactrl_video.jobs.comic.panels import PanelJob
    from masactrl_video.model.diffusion import DiffusionModel

logger = logging.getLogger(__name__)


def render_comic(
    story: Story,
    path: Path,
    output: Path,
    *,
    changes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    model: DiffusionModel | None = None,
    tell: Tell = lambda event: None,
) -> ComicOutputs:
    """Render a story to `output` and everything else into the folder of the same name beside it.

    A run that was interrupted goes on when it is called again; panels that are done and did not change are kept.

    Args:
        path: the story's file; paths in the story are relative to it.
        output: .png (one for each page), .pdf or .cbz; the other two are written into the folder.
        changes: settings that come before the story's own.
        overwrite: replace existing pages, and panels that changed.
        model: one that is loaded already without guidance networks; by default it is loaded as the settings say.
        tell: called with what happens while it happens (see `report.Tell`).

    Raises:
        UserError: anything in the story, its files or the output cannot be used; nothing is half-written.
    """
    planned = plan_panels(story, pages_with_panels(story, path), path.parent)  # all of the page before any model
    outputs, report = ComicOutputs(output, planned[-1].page + 1), Report(tell=tell)
    inputs = list(_inputs(story, planned, path))
    check_comic_free(outputs, inputs, overwrite)
    settings = settings_of(story, changes or {}, path)
    check_cache(settings)
    if model is None:
        check_models(settings)
    with each_of(settings) as each:
        with report.stage("load"):
            studio = _loaded(story, planned, settings, path.parent, model)
        with comic_claimed(outputs, story, inputs, overwrite, report):
            report.model = studio.model
            _make(studio, path.parent, outputs, each, report, overwrite)
            say_cache_size(settings)
    return outputs


@dataclass(frozen=True, eq=False)
class _Studio:
    """The model, and all that is to be made, checked against it."""

    story: Story
    settings: Settings
    """With the control for poses, where anything has one."""
    model: DiffusionModel
    """With its networks."""
    cast: Sequence[CastMember]
    jobs: Sequence[PanelJob]


def _loaded(
    story: Story, planned: Sequence[PlannedPanel], settings: Settings, folder: Path, model: DiffusionModel | None
) -> _Studio:
    from masactrl_video.controls.single_pose import with_guidance
    from masactrl_video.jobs.comic.cast import plan_member
    from masactrl_video.jobs.comic.panels import plan_job
    from masactrl_video.jobs.comic.skeletons import source_pose
    from masactrl_video.model.loading.from_settings import with_networks

    settings = with_guidance(settings, _guidance(story, planned, settings))
    posed = with_networks(settings, model)
    bare = replace(posed, networks=())
    cast = [plan_member(name, story.characters[name], settings, posed, folder) for name in _in_use(planned)]
    if settings.source_positions == "pose":
        made = {name: source_pose(name, story.characters[name], settings, folder) for name in _in_use(planned)}
        planned = [replace(panel, source_poses={name: made[name] for name in panel.cast}) for panel in planned]
    jobs = [plan_job(panel, story, settings, posed, bare) for panel in planned]
    return _Studio(story, settings, posed, cast, jobs)


def _make(studio: _Studio, folder: Path, outputs: ComicOutputs, each: Each, report: Report, overwrite: bool) -> None:
    """Characters, panels and pages."""
    from masactrl_video.jobs.run.prompts import tell_texts

    story, jobs = studio.story, studio.jobs
    tell_texts(studio.settings, studio.model, [*_prompts(story, studio.cast, jobs)])
    with report.stage("characters"):
        sources = {member.name: _record(member, outputs) for member in studio.cast}
    with report.stage("panels"):
        _make_panels(studio, sources, outputs, each, report, overwrite)
    with report.stage("pages"):
        _write_pages(story, folder, [job.planned for job in jobs], outputs)
    report.figures["cache_entries"] = {name: source.entry.folder.name for name, source in sources.items()}


def _make_panels(
    studio: _Studio,
    sources: Mapping[str, CachedSource],
    outputs: ComicOutputs,
    each: Each,
    report: Report,
    overwrite: bool,
) -> None:
    """Those that are not there yet, in this process or where the settings say."""
    from masactrl_video.jobs.comic.elsewhere import Panels
    from masactrl_video.jobs.comic.panels import is_panel_kept, panel_made_from, panel_picture, weights_of

    jobs, weights = studio.jobs, weights_of(studio.model)
    drawn = [job.pose_picture() for job in jobs]
    names = [panel_made_from(job, sources, picture, weights) for job, picture in zip(jobs, drawn, strict=True)]
    todo, figures = list[int](), dict[int, dict[str, Any]]()
    for number, (job, picture) in enumerate(zip(jobs, drawn, strict=True)):
        if picture is not None:
            write_png(outputs.pose(job.planned.number), picture)
        if is_panel_kept(job, outputs.panel(job.planned.number), names[number], overwrite=overwrite):
            figures[number] = {"panel": job.planned.number, "kept": True}
            report.tell({"stage": "panels", "panel": job.planned.number, "panels": len(jobs)})
        else:
            todo.append(number)
    planned, folders = [job.planned for job in jobs], [source.entry.folder for source in sources.values()]
    work = Panels(
        studio.story, studio.settings, planned, drawn, names, list(sources), folders, each.weights(studio.model)
    )
    for number, made in each(work, todo, lambda n: panel_picture(jobs[n], sources, drawn[n], names[n])):
        with replacing(outputs.panel(jobs[number].planned.number)) as partial:
            partial.write_bytes(made.png)
        figures[number] = made.figures
        report.tell({"stage": "panels", "panel": jobs[number].planned.number, "panels": len(jobs)})
    report.figures |= each.figures()
    report.figures["panels"] = [figures[number] for number in range(len(jobs))]


def _guidance(story: Story, planned: Sequence[PlannedPanel], settings: GuidanceSettings) -> list[str]:
    """The control for poses, where anything has one."""
    from masactrl_video.controls.single_pose import pose_control

    posed = [panel.where for panel in planned if panel.posed]
    posed += [f"characters.{name}" for name, who in story.characters.items() if who.pose not in (None, "none")]
    return [pose_control(settings, posed[0])] if posed else []


def _in_use(planned: Sequence[PlannedPanel]) -> list[str]:
    return list(dict.fromkeys(name for panel in planned for name in panel.cast))


def _prompts(story: Story, cast: Sequence[CastMember], jobs: Sequence[PanelJob]) -> Iterator[tuple[str, str]]:
    from masactrl_video.jobs.run.prompts import prompts_of

    for member in cast:
        if story.characters[member.name].source is None:
            yield from prompts_of(member.settings, f"prompt of {member.name}", f" of {member.name}")
    for job in jobs:
        yield from prompts_of(job.settings, f"prompt of {job.planned.where}", f" of {job.planned.where}")
        for name, placed in job.planned.cast.items():
            if placed.prompt is not None:
                yield f"prompt of {name} in {job.planned.where}", placed.prompt


def _inputs(story: Story, planned: Sequence[PlannedPanel], path: Path) -> Iterator[Path]:
    yield path
    folder = path.parent
    named: list[Any] = [story.script, *(story.page.font or []), *(who.image for who in story.characters.values())]
    named += [who.pose for who in story.characters.values()]
    for panel in planned:
        named += [panel.panel.pose, *(placed.pose for placed in panel.cast.values())]
    yield from (folder / name for name in named if name is not None and Path(name).suffix)


def _record(member: CastMember, outputs: ComicOutputs) -> CachedSource:
    """Record a character, and show its source."""
    from masactrl_video.jobs.render_frames import picture_text
    from masactrl_video.model.sampling.latents import decode_latents

    logger.info("character %s", member.name)
    source = member.record()
    hold(source.entry.folder, outputs.story, outputs.results[-1])
    picture = decode_latents(member.model, source.latents)[0]
    text = {"parameters": picture_text(member.settings)["parameters"]}
    write_png(outputs.source(member.name), picture, text)
    return source


def _write_pages(story: Story, folder: Path, planned: Sequence[PlannedPanel], outputs: ComicOutputs) -> None:
    """What was asked for appears last, when everything else is there."""
    style = styled(story, folder)
    for number, page in enumerate(outputs.pages):
        on_page = [panel for panel in planned if panel.page == number]
        parts = [(panel.place, read_png(outputs.panel(panel.number)), panel.texts) for panel in on_page]
        write_page(page, compose_page(parts, style), style.dpi)
    bound = {
        outputs.pdf: lambda: write_pdf(outputs.pdf, outputs.pages, style.dpi, encodable(outputs.output.stem)),
        outputs.cbz: lambda: write_cbz(outputs.cbz, outputs.pages),
    }
    for path in sorted(bound, key=lambda path: path == outputs.output):
        bound[path]()
    if outputs.output.suffix.lower() == ".png":
        for result, page in zip(outputs.results, outputs.pages, strict=True):
            with replacing(result) as partial:
                shutil.copyfile(page, partial)
