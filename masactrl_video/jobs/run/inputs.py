"""The files that settings name, looked at before anything slow begins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from masactrl_video.errors import UserError
from masactrl_video.model.gpu_driver import check_device_name
from masactrl_video.model.loading import location
from masactrl_video.poses.named_poses import named_pose
from masactrl_video.settings.acting import check_source_acts
from masactrl_video.settings.fields import option_of
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings
from masactrl_video.settings.timeline import GENERATED, is_inverted
from masactrl_video.sources.characters.kind import characters_of, index_of, is_kept_reference
from masactrl_video.sources.characters.store import default_root, open_character
from masactrl_video.video.image_folder import read_image
from masactrl_video.video.local_file import local_path
from masactrl_video.video.target_size import check_sides


def check_inputs(settings: Settings, *written: Path) -> None:
    """See that every file is there, and that none of them is or lies in what will be `written` (files or folders).

    Raises:
        UserError: an input that does not exist, or would be replaced, or a single picture that cannot be read.
    """
    places = [place.resolve() for place in written]
    for name, path in _inputs(settings):
        try:
            found = local_path(path).resolve()
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if any(place == found or place in found.parents for place in places):
            raise UserError(f"{name}: {path} is read, and would be overwritten; give another output")
    for picture in (settings.source_image, settings.source_mask):
        if picture is not None:
            read_image(picture)


def check_prompt(settings: Settings) -> None:
    """See that there is a prompt; presets for real models have none.

    Raises:
        UserError: there is none.
    """
    if not settings.prompt:
        raise UserError("prompt: missing; say with --prompt what the frames show")


def check_acts(settings: Settings) -> None:
    """See that frames will follow their source at some step; a character that is a reference acts at all of them.

    Raises:
        UserError: they would not, or a reference is to act for some people or frames alone.
    """
    for name, who in _placed_characters(settings):
        try:
            kind = index_of(settings, who).recipe.kind
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if kind == "reference":
            raise UserError(
                f"{name}: character {who!r} is a reference, which every frame sees as a whole; give it as character or "
                "references, which hold for the whole clip"
            )
    if not is_kept_reference(settings):
        check_source_acts(settings)


def _placed_characters(settings: Settings) -> Iterator[tuple[str, str]]:
    """Characters of some people or frames alone, each with the setting that names it."""
    for person, who in settings.cast.items():
        yield f"cast, person {person}", who
    for frame, what in settings.sources.items():
        if what != GENERATED and not is_inverted(what):
            yield f"sources, frame {frame}", what


def check_models(settings: Settings) -> None:
    """See that all files of the model that the settings name are there; what is in them is known when they are loaded.

    Raises:
        UserError: a path that does not exist or is of no known kind, a device that this machine cannot have, or a side
            that is no multiple of what the model's configuration says.
    """
    check_device_name(settings.device)
    _check_sides(settings, location.local_path(settings.model, "model"))
    named: list[tuple[str, str | None]] = [("config", settings.single_file_config), ("taesd", settings.taesd)]
    for name in settings.guidance:
        control = settings.controls[name]
        named += [(control.adapter, control.model or None), ("config", control.single_file_config)]
    for what, path in (*named, *(("LoRA", path) for path in settings.lora)):
        if path is not None:
            location.local_path(path, what)
    check_character(settings)


def check_character(settings: Settings) -> None:
    """See that the saved characters that are the source are there.

    Raises:
        UserError: one is not.
    """
    for name in characters_of(settings):
        open_character(settings.characters_dir or default_root(), name)


def _check_sides(settings: Settings, model: Path | None) -> None:
    """Look at width and height where the configuration lies on disk; networks for guidance may want more later."""
    if model is not None and model.is_file() and settings.single_file_config is not None:
        model = location.local_path(settings.single_file_config, "config")
    config = model / "vae" / "config.json" if model is not None else None
    if config is None or not config.is_file() or (settings.width is None and settings.height is None):
        return
    vae = location.read_json(config, "model", settings.model)
    channels = vae.get("block_out_channels")
    if isinstance(channels, list) and channels:
        tokens = config.parents[1] / "transformer" / "config.json"
        network = location.read_json(tokens, "model", settings.model) if tokens.is_file() else {}
        factor = 2 ** (len(channels) - 1) * _token_side(network, vae.get("latent_channels"))
        check_sides(settings.width, settings.height, factor)


def _token_side(network: dict[str, Any], latent_channels: object) -> int:
    """Side in latents of a token of a transformer whose configuration is given; 1 of other networks."""
    patch, channels = network.get("patch_size"), network.get("in_channels")
    sides = [side for side in (patch if isinstance(patch, list) else [patch]) if isinstance(side, int)]
    if isinstance(channels, int) and isinstance(latent_channels, int) and latent_channels > 0:
        sides.append(math.isqrt(channels // latent_channels))  # where latents are packed before they come
    return max([1, *sides])


def _inputs(settings: Settings) -> Iterator[tuple[str, Path]]:
    if isinstance(settings, StillSettings):
        yield from _still_inputs(settings)
    else:
        yield "clip", settings.clip
    for name, field in Settings.model_fields.items():
        is_read = field.annotation == (Path | None) and option_of(Settings, name).changes != "speed"
        if is_read and getattr(settings, name) is not None:
            yield name, getattr(settings, name)
    for kind, path in settings.guidance_video.items():
        yield f"guidance_video {kind}", path


def _still_inputs(settings: StillSettings) -> Iterator[tuple[str, Path]]:
    given = [("source_guidance", kind, path) for kind, path in settings.source_guidance.items()]
    given += [("target_guidance", kind, path) for kind, paths in settings.target_guidance.items() for path in paths]
    for name, kind, path in given:
        if kind == "pose" and not path.suffix:
            named_pose(str(path), f"{name} pose")
        else:
            yield f"{name} {kind}", path
