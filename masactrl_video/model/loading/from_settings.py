"""From settings to a loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.controls import NetworkChoice
from masactrl_video.model.compile import check_compiler, compile_network
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.load import load_guidance, load_model
from masactrl_video.model.loading.location import local_path
from masactrl_video.model.loading.lora import LoraFile
from masactrl_video.model.loading.taesd import load_taesd
from masactrl_video.settings.control import Control
from masactrl_video.settings.guidance_parts import GuidanceSettings
from masactrl_video.settings.settings import Settings


def model_from_settings(settings: Settings) -> DiffusionModel:
    """Load the model with the networks of the guidance in use.

    Raises:
        UserError: weights that cannot be found, read or combined.
    """
    if settings.taesd is not None:
        local_path(settings.taesd, "taesd")  # a mistyped path is told before gigabytes are loaded
    model = load_model(
        settings.model,
        networks=[_network(settings.controls[name]) for name in settings.guidance],
        revision=settings.revision,
        variant=settings.variant,
        dtype=settings.dtype,
        device=settings.device,
        config=settings.single_file_config,
        loras=[LoraFile(path, scale) for path, scale in settings.lora.items()],
        offload=settings.offload,
        prediction_type=settings.prediction_type,
    )
    if settings.taesd is not None:
        preview = load_taesd(settings.taesd, model.vae, model.dtype, model.device)
        model = replace(model, preview=preview)
    if settings.vae_tiling:
        model.vae.enable_tiling()
    if settings.channels_last:
        if any(weight.ndim == 5 for weight in model.vae.parameters()):
            raise UserError(
                "channels_last: the autoencoder of this model is one for videos, whose layers cannot lie so in memory; "
                "leave it out"
            )
        for part in (model.denoiser, model.vae, *(network.module for network in model.networks)):
            part.to(memory_format=torch.channels_last)
    if settings.compile:
        check_compiler(model.device)
        for part in (model.denoiser, *(network.module for network in model.networks)):
            compile_network(part)
    return model


def with_controls(settings: GuidanceSettings, model: DiffusionModel, controls: Sequence[Control]) -> DiffusionModel:
    """The same pipeline with exactly these guidance networks; those that are loaded already are taken again.

    Raises:
        UserError: weights that cannot be found, read or combined.
    """
    loaded = dict(zip((settings.controls[name] for name in settings.guidance), model.networks, strict=True))
    networks = (loaded.get(control) or load_guidance(model.pipe, _network(control)) for control in controls)
    return replace(model, networks=tuple(networks))


def with_networks(settings: Settings, model: DiffusionModel | None) -> DiffusionModel:
    """The model with the networks of the guidance in use: loaded now, or only the networks where the rest is there.

    Raises:
        UserError: weights that cannot be found, read or combined.
    """
    if model is None:
        return model_from_settings(settings)
    networks = (load_guidance(model.pipe, _network(settings.controls[name])) for name in settings.guidance)
    return replace(model, networks=tuple(networks))


def _network(control: Control) -> NetworkChoice:
    return NetworkChoice(
        guidance=control.kind,
        kind=control.adapter,
        name=control.model,
        scale=control.scale,
        start=control.start,
        end=control.end,
        revision=control.revision,
        variant=control.variant,
        config=control.single_file_config,
    )
