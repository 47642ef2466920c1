"""The stages one by one, for those who want only a part of the way; each leaves a log beside what it made."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from masactrl_video.controls.clip import fit_clip, log_remarks, open_selected
from masactrl_video.controls.given import check_given
from masactrl_video.controls.plan import make_guidance
from masactrl_video.controls.store import frame_name
from masactrl_video.encode.container import container_for
from masactrl_video.errors import UserError, counted
from masactrl_video.jobs.encode import encode_frames_like, encode_guidance, plan_encoding
from masactrl_video.jobs.render_clip import write_source_picture
from masactrl_video.jobs.run.inputs import check_acts, check_inputs, check_models, check_prompt
from masactrl_video.jobs.run.log_file import LOG_NAME
from masactrl_video.jobs.run.report import Report
from masactrl_video.jobs.run.run import Place, alone
from masactrl_video.progress import counting
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.timeline import first_source
from masactrl_video.sources.cache_limit import check_cache, say_cache_size
from masactrl_video.sources.characters.caption import with_caption
from masactrl_video.storage.staging import staged_folder
from masactrl_video.storage.write_errors import check_can_be_made
from masactrl_video.video.clip import open_clip
from masactrl_video.video.png import png_bytes, write_png

if TYPE_CHECKING:
    from masactrl_video.cache.recorded_source import CachedSource
    from masactrl_video.controls.clip import FittedClip
    from masactrl_video.video.clip import Clip


def _check_absent(*files: Path, overwrite: bool, otherwise: str = "name") -> None:
    """Asked before anything slow begins, and again when no other process writes there any more."""
    for path in files:
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists; give another {otherwise}, or --overwrite")


def write_frames(settings: Settings, folder: Path) -> int:
    """Stage 1: the clip's frames at the model's size as `folder`/000000.png …; returns their number.

    Raises:
        UserError: the folder exists.
    """

    def check() -> None:
        if folder.exists():
            raise UserError(f"{folder} exists; give another folder")
        check_can_be_made(folder=folder)

    with alone(Place.folder(folder), settings.as_yaml_data(), check):
        clip = _fitted(settings, open_selected(settings))
        with staged_folder(folder) as pictures:
            for index, frame in enumerate(counting(clip, "frames", "frame", total=len(clip))):
                write_png(pictures / frame_name(index), frame)
    return len(clip)


def _fitted(settings: Settings, selected: Clip) -> FittedClip:
    check_models(settings)
    from masactrl_video.model.loading.from_settings import model_from_settings

    return fit_clip(settings, selected, model_from_settings(settings))


def write_guidance(settings: Settings, folder: Path, *, overwrite: bool = False) -> dict[str, Path]:
    """Stage 2: `folder`/KIND/ with pictures (and pose.json), and `folder`/KIND.mp4; returns the folder of each kind.

    Raises:
        UserError: no guidance is in use, it cannot be made, or a video exists.
    """
    if not settings.kinds:
        raise UserError("guidance: none is in use; name it with --guidance")
    videos = {kind: folder / f"{kind}.mp4" for kind in settings.kinds}
    check_inputs(settings, *(folder / kind for kind in settings.kinds), *videos.values())
    place = Place.folder(folder)

    def check() -> None:
        _check_absent(*videos.values(), overwrite=overwrite, otherwise="folder")
        check_can_be_made(*videos.values(), place.log, folder=folder)

    with alone(place, settings.as_yaml_data(), check):
        selected = open_selected(settings)
        check_given(settings, selected)
        plan = plan_encoding(settings, selected, ".mp4", audio=False)
        clip = _fitted(settings, selected)
        made = {kind: make_guidance(settings, clip, kind, folder / kind) for kind in settings.kinds}
        for kind, pictures in made.items():
            encode_guidance(settings, clip, pictures.paths(), videos[kind], plan)
    return {kind: pictures.folder for kind, pictures in made.items()}


def record_source_of(settings: Settings, picture: Path, *, overwrite: bool = False) -> str:
    """Stages 3 and 4: make the source, record it in the cache, write its picture; returns the cache entry's name.

    Raises:
        UserError: the picture exists, or is not a .png.
    """
    if picture.suffix.lower() != ".png":
        raise UserError(f"{picture}: the source image is written as .png")
    place, settings = Place.file(picture, picture.with_suffix(f".{LOG_NAME}")), with_caption(settings)

    def check() -> None:
        _check_absent(picture, overwrite=overwrite)
        check_inputs(settings, picture)
        check_can_be_made(picture, place.log)

    check()
    check_cache(settings)
    check_prompt(settings)
    check_acts(settings)
    with alone(place, settings.as_yaml_data(), check) as report:
        source = _recorded(settings, picture, report)
        say_cache_size(settings)
    return source.entry.folder.name


def _recorded(settings: Settings, picture: Path, report: Report) -> CachedSource:
    settings = first_source(settings)
    selected = open_selected(settings)
    check_given(settings, selected)
    check_models(settings)
    from masactrl_video.jobs.run.prompts import tell_prompts
    from masactrl_video.model.loading.from_settings import model_from_settings
    from masactrl_video.sources.control import check_source_used
    from masactrl_video.sources.plan import plan_source

    report.model = model = model_from_settings(settings)
    clip = fit_clip(settings, selected, model)
    check_source_used(settings, model)
    tell_prompts(settings, model)
    with tempfile.TemporaryDirectory(prefix="masactrl-video-") as folder:
        kinds = {kind: make_guidance(settings, clip, kind, Path(folder) / kind) for kind in settings.kinds}
        guidance = [kinds[settings.controls[name].kind] for name in settings.guidance]
        planned = plan_source(settings, model, clip, guidance)
        source = planned.record(model, settings)
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_source_picture(settings, model, source, picture)
    return source


def encode_frames(settings: Settings, folder: Path, output: Path, *, overwrite: bool = False) -> None:
    """Stage 6: pictures that are there already become a video with the clip's times and sound.

    Raises:
        UserError: not as many pictures as frames are taken from the clip, or the output exists.
    """
    container_for(output)
    place = Place.file(output, output.with_suffix(f".{LOG_NAME}"))

    def check() -> None:
        check_inputs(settings, output)
        _check_absent(output, overwrite=overwrite)
        check_can_be_made(output, place.log)

    check()
    if not folder.is_dir():
        raise UserError(f"--frames: {folder} is not a folder")
    clip = open_selected(settings)
    frames = open_clip(folder)
    if len(frames) != len(clip):
        taken = f"{counted(len(clip), 'frame')} {'is' if len(clip) == 1 else 'are'} taken"
        raise UserError(f"{folder} holds {counted(len(frames), 'picture')}, but {taken} from {settings.clip}")
    pictures = (png_bytes(frame.pixels) for frame in frames)
    with alone(place, settings.as_yaml_data(), check):
        log_remarks(folder, frames.info.remarks)
        plan = plan_encoding(settings, clip, output.suffix, audio=settings.audio)
        output.parent.mkdir(parents=True, exist_ok=True)
        encode_frames_like(
            settings, clip, pictures, output, audio=settings.audio, metadata={}, overwrite=overwrite, plan=plan
        )
