"""Making a character to keep: its source, its recipe, and everything that a later run needs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save

from masactrl_video.cache.holders import hold
from masactrl_video.controls.canvas import EmptyCanvas, size_for
from masactrl_video.controls.single_pose import pose_control, pose_picture, with_guidance
from masactrl_video.errors import UserError
from masactrl_video.jobs.character_index import new_index
from masactrl_video.jobs.make_reference import save_reference
from masactrl_video.jobs.run.inputs import check_prompt
from masactrl_video.jobs.run.prompts import tell_prompts
from masactrl_video.jobs.run.report import Report
from masactrl_video.jobs.run.run import Place, alone
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import with_networks
from masactrl_video.model.prompts import find_words
from masactrl_video.model.sampling.latents import decode_latents
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.cache_limit import check_cache, say_cache_size
from masactrl_video.sources.characters.index import (
    INDEX_NAME,
    PICTURE_NAME,
    TENSORS_NAME,
    guidance_name,
)
from masactrl_video.sources.characters.store import Character, check_vacant, default_root, folder_of, save_alone
from masactrl_video.sources.plan import plan_source
from masactrl_video.sources.reference import ReferenceSource
from masactrl_video.sources.saved import NOISE, PICTURE_LATENTS, level_name
from masactrl_video.sources.source import GeneratedSource, RealSource
from masactrl_video.storage.write_errors import check_writable
from masactrl_video.video.image_folder import read_image
from masactrl_video.video.local_file import local_path
from masactrl_video.video.png import png_bytes

logger = logging.getLogger(__name__)


def make_character(
    settings: Settings,
    name: str,
    *,
    pose: str | None = None,
    caption: str | None = None,
    words: Sequence[str] = (),
    overwrite: bool = False,
    model: DiffusionModel | None = None,
) -> Character:
    """Generate a character from the prompt, or invert the picture that `source_image` names, and keep it.

    Of a model that keeps references (FLUX.2 klein-kv), what the picture offers as one is kept instead. Otherwise the
    source is recorded in the cache too, as a render with the same settings will look it up.

    Args:
        settings: of the model and the source; the clip is not read.
        pose: of a generated character: a named pose, a pose JSON or a ready-made picture.
        caption: of a picture: a text that names the character; for a generated one its prompt is that.
        words: the character's words in the caption, for the masked mode and for pages with several characters.
        model: one that is loaded already without guidance networks; by default it is loaded as the settings say.

    Raises:
        UserError: the name is taken or cannot be one, or anything in the settings cannot be used.
    """
    root = settings.characters_dir or default_root()
    check_vacant(root, name, overwrite)
    _check(settings, pose, caption, words)
    check_cache(settings)
    check_writable(root / name, "set MASACTRL_VIDEO_CHARACTERS to another folder")
    asked = {key: value for key, value in settings.as_yaml_data().items() if key != "clip"}  # none is read
    with alone(Place.file(root / name), asked, lambda: check_vacant(root, name, overwrite)) as report:
        return _make(settings, root, name, pose, caption, words, overwrite, model, report)


def _make(
    settings: Settings,
    root: Path,
    name: str,
    pose: str | None,
    caption: str | None,
    words: Sequence[str],
    overwrite: bool,
    model: DiffusionModel | None,
    report: Report,
) -> Character:
    guidance = [pose_control(settings, "--pose")] if pose not in (None, "none") else []
    settings = with_guidance(settings, guidance)
    report.model = model = with_networks(settings, model)
    settings = _with_layers_of(settings, model)
    text = caption if settings.real_source else settings.prompt
    if words:
        find_words(model.tokenizer, text or "", words)
    tell_prompts(settings, model)
    size_px = _size_px(settings, model)
    pictures = [pose_picture(settings, str(pose), size_px, Path(), "--pose")] if guidance else []
    if model.backbone.takes_references(model.denoiser):
        said = (pose if guidance else None, text or "", words)
        return save_reference(settings, model, root, name, size_px, pictures, *said, overwrite)
    planned = plan_source(settings, model, EmptyCanvas(size_px), [[picture] for picture in pictures])
    source = planned.source
    assert not isinstance(source, ReferenceSource)  # it comes from this model, which keeps none
    if isinstance(source, RealSource):
        source = replace(source, trajectory=source.begin().trajectory)  # inverted once; kept with the character
    recorded = replace(planned, source=source).record(model, settings)
    files = {PICTURE_NAME: png_bytes(decode_latents(model, recorded.latents)[0]), TENSORS_NAME: save(_tensors(source))}
    files |= {guidance_name(number): png_bytes(picture) for number, picture in enumerate(pictures)}
    index = new_index(
        settings,
        name,
        kind="real" if settings.real_source else "generated",
        prompt=(settings.source_prompt or "") if settings.real_source else _source_prompt(settings),
        size_px=size_px,
        pose=pose if guidance else None,
        caption=text or "",
        words=words,
        controls=[settings.controls[name] for name in settings.guidance],
    )
    saved = save_alone(root, index, files, overwrite)
    hold(recorded.entry.folder, folder_of(root, name) / INDEX_NAME)
    say_cache_size(settings)
    return saved


def _with_layers_of(settings: Settings, model: DiffusionModel) -> Settings:
    """L of a preset for a larger model means nothing here, and no flag of this command says another one."""
    layers = len(model.backbone.layers(model.denoiser))
    if settings.masa_layers is not None or settings.masa_layer < layers:
        return settings
    logger.info("masa_layer: %d is past the model's %d layers; all are recorded", settings.masa_layer, layers)
    return settings.model_copy(update={"masa_layer": 0})


def _check(settings: Settings, pose: str | None, caption: str | None, words: Sequence[str]) -> None:
    if settings.source == "clip" or settings.character is not None:
        raise UserError("source make: a character comes from --prompt or from --source-image")
    if not settings.real_source:
        check_prompt(settings)
        if caption is not None:
            raise UserError("caption: it belongs to --source-image; a generated character is named by its prompt")
        return
    if pose is not None:
        raise UserError("pose: it would have no effect, because the picture has its own; leave it out")
    if words and not caption:
        raise UserError("words: give --caption too, a text that names the character in the picture")
    assert settings.source_image is not None
    local_path(settings.source_image)


def _size_px(settings: Settings, model: DiffusionModel) -> tuple[int, int]:
    """Height and width: as given, or of the picture's shape (square without one) and the model's area."""
    shape = (1, 1) if settings.source_image is None else read_image(settings.source_image).shape[:2]
    aspect = shape[1] / shape[0]
    if settings.width is not None and settings.height is not None:
        return size_for(aspect, (settings.width, settings.height), model, "source make")
    if settings.width is not None or settings.height is not None:
        raise UserError("source make: give both --width and --height, or neither")
    return size_for(aspect, None, model, "source make")


def _tensors(source: GeneratedSource | RealSource) -> Mapping[str, torch.Tensor]:
    """float32: every number format of a model is kept exactly."""
    if isinstance(source, GeneratedSource):
        tensors = {NOISE: source.noise}
    else:
        assert source.trajectory is not None
        levels = {level_name(step): level for step, level in enumerate(source.trajectory.latents)}
        tensors = {PICTURE_LATENTS: source.picture_latents.clone(), **levels}  # the last level is the same tensor
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}


def _source_prompt(settings: Settings) -> str:
    return settings.prompt if settings.source_prompt is None else settings.source_prompt
