"""Jobs are done by the functions that the command line calls too."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import Outputs, is_made
from masactrl_video.jobs.run.inputs import check_acts, check_inputs, check_models, check_prompt
from masactrl_video.jobs.run.report import Tell
from masactrl_video.jobs.run.still_folder import FIGURES, SHEET, check_files
from masactrl_video.page.story import Story
from masactrl_video.page.story_file import read_story
from masactrl_video.settings.fields import STILLS, VIDEOS
from masactrl_video.settings.home import at_home
from masactrl_video.settings.names import OWN_MODELS
from masactrl_video.settings.presets import DEFAULT_PRESET
from masactrl_video.settings.stills import StillSettings
from masactrl_video.sources.characters.store import check_vacant, default_root, folder_of
from masactrl_video.web.job import Job

# torch, diffusers and what stands on them are imported where a job begins

logger = logging.getLogger(__name__)


def check(job: Job, folder: Path) -> None:
    """See that a job can begin, as far as that is known without a model.

    Raises:
        UserError: anything in it cannot be used.
    """
    if job.command == "comic":
        story_of(job)
        return
    settings = job.settings()
    if isinstance(settings, StillSettings):
        check_files(job.output(folder), settings, overwrite=False)
        return
    check_models(settings)
    if job.command == "source make":
        check_vacant(settings.characters_dir or default_root(), job.more["name"], overwrite=False)
        return
    check_inputs(settings, job.output(folder))
    check_prompt(settings)
    check_acts(settings)


def check_own_files(job: Job, root: Path) -> None:
    """See that nothing in a job leads to a file or folder outside `root`, for a server that others use.

    Raises:
        UserError: something does.
    """
    said = [job.changes, job.more]
    base = root
    if job.command == "comic":
        said.append(story_of(job).model_dump(mode="json"))
        base = Path(job.more["story"]).parent
    for text in _texts(said):
        try:
            found = (base / at_home(text)).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            continue  # no file
        if found != root and root not in found.parents:
            raise UserError(f"{text}: files of the server are not taken; drop yours on the page")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from (*_texts(key), *_texts(one))
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def load_ahead() -> None:
    """Load what every job needs, while somebody looks for a clip; in the thread of the jobs, and in no other beside it.

    Libraries that load their parts when they are asked for are not ready for two threads that ask at once.
    """
    try:
        import masactrl_video.jobs.render_frames
        import masactrl_video.model.loading.from_settings  # noqa: F401
    except Exception:  # whoever starts a job is told
        logger.debug("loading ahead", exc_info=True)


def is_done(job: Job, folder: Path) -> bool:
    """Whether a job that was interrupted had come to its end."""
    output = job.output(folder)
    if job.command in VIDEOS:
        return is_made(Outputs(output), job.settings())
    if job.command in STILLS:
        return (output / SHEET).exists()
    if job.command == "source make":
        return os.path.lexists(folder_of(default_root(), job.more["name"]))
    return output.exists() and job.command == "source record"


def make(job: Job, folder: Path, tell: Tell) -> None:
    """Do a job, or go on with it.

    Raises:
        UserError: anything in it cannot be used.
        Cancelled: it was stopped.
    """
    output = job.output(folder)
    if job.command in VIDEOS:
        from masactrl_video.jobs.render_clip import render_clip

        render_clip(job.settings(), output, tell=tell)
    elif job.command in STILLS:
        _make_stills(job, output, tell)
    elif job.command == "comic":
        _make_comic(job, output, tell)
    elif job.command == "source record":
        from masactrl_video.jobs.single_stages import record_source_of

        record_source_of(job.settings(), output)
    else:
        from masactrl_video.jobs.make_character import make_character

        more = {name: job.more[name] for name in ("pose", "caption", "words") if job.more.get(name)}
        make_character(job.settings(), job.more["name"], **more)


def _make_stills(job: Job, output: Path, tell: Tell) -> None:
    settings = job.settings()
    assert isinstance(settings, StillSettings)
    _still(job.command, settings, output)(settings, output, tell=tell)


def _still(command: str, settings: StillSettings, output: Path) -> Callable[..., Any]:
    if command == "compare":
        from masactrl_video.jobs.compare import compare

        return compare
    if command == "sweep":
        from masactrl_video.evaluate.sweep import write_figures
        from masactrl_video.jobs.sweep import sweep

        if settings.model in OWN_MODELS:  # whose world is known
            return partial(sweep, measure=lambda cells: write_figures(cells, output / FIGURES))
        return sweep
    from masactrl_video.jobs.synthesize import edit, synthesize

    return edit if command == "edit" else synthesize


def story_of(job: Job) -> Story:
    """The story of a comic.

    Raises:
        UserError: it cannot be read.
    """
    who = {name: job.more[name] for name in ("prompt",) if job.more.get(name)}
    story = read_story(Path(job.more["story"]), who)
    if job.preset != DEFAULT_PRESET:
        story = story.model_copy(update={"preset": job.preset})
    if layout := job.more.get("layout"):
        if story.pages:
            raise UserError("layout: each of the story's pages has its own; leave it out")
        story = story.model_copy(update={"layout": layout})
    return story


def _make_comic(job: Job, output: Path, tell: Tell) -> None:
    from masactrl_video.jobs.comic.comic import render_comic

    render_comic(story_of(job), Path(job.more["story"]), output, changes=job.changes, tell=tell)
