"""Loading Stable Diffusion 1.x, 2.x and XL, and the guidance networks beside it, from wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.compile import compile_network, is_compiled
from masactrl_video.model.control_networks import GuidanceNetwork
from masactrl_video.model.device import choose_device, choose_dtype, is_channels_last
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.checks import check_beside, check_network, networks_of, pipeline_class
from masactrl_video.model.loading.hub import fetch_model_index, fetch_pipeline
from masactrl_video.model.loading.loading import loading
from masactrl_video.model.loading.location import check_safetensors, local_path
from masactrl_video.model.loading.lora import LoraFile, add_loras
from masactrl_video.model.loading.network import NetworkChoice, load_network
from masactrl_video.model.loading.prediction import follow_prediction, read_markers
from masactrl_video.model.loading.single_file import load_single_file
from masactrl_video.model.loading.weights import check_complete, load_part
from masactrl_video.model.offload import check_offload, follow_offload, offload_pipeline
from masactrl_video.settings.names import DtypeName, OffloadKind, PredictionType


def load_model(
    name: str,
    *,
    networks: Sequence[NetworkChoice] = (),
    revision: str | None = None,
    variant: str | None = None,
    dtype: DtypeName | None = None,
    device: str | None = None,
    config: str | None = None,
    loras: Sequence[LoraFile] = (),
    offload: OffloadKind | None = None,
    prediction_type: PredictionType | None = None,
) -> DiffusionModel:
    """Load a model with its guidance networks, all on one device in one number format.

    See `load_pipeline` for the arguments.

    Raises:
        UserError: anything is missing, of a wrong kind, or does not fit together.
    """
    for choice in networks:
        local_path(choice.name, choice.kind)  # a mistyped path is told before gigabytes are loaded
    pipe = load_pipeline(
        name,
        revision=revision,
        variant=variant,
        dtype=dtype,
        device=device,
        config=config,
        loras=loras,
        offload=offload,
        prediction_type=prediction_type,
    )
    return DiffusionModel(pipe, tuple(load_guidance(pipe, choice) for choice in networks))


def load_guidance(pipe: Any, choice: NetworkChoice) -> GuidanceNetwork:
    """Load a guidance network for a loaded pipeline, on its device, in its formats, and compiled if that is.

    Raises:
        UserError: not to be found, of a wrong kind, or made for another kind of model.
    """
    denoiser = backbone_of(pipe).denoiser(pipe)
    network = load_network(choice, denoiser.dtype, denoiser.device)
    check_network(choice.name, network, denoiser)
    if is_channels_last(denoiser):
        network.to(memory_format=torch.channels_last)
    if is_compiled(denoiser):
        compile_network(network)
    follow_offload(denoiser, network)
    return GuidanceNetwork(choice.guidance, network, choice.scale, choice.start, choice.end)


def load_pipeline(
    name: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    dtype: DtypeName | None = None,
    device: str | None = None,
    config: str | None = None,
    loras: Sequence[LoraFile] = (),
    offload: OffloadKind | None = None,
    prediction_type: PredictionType | None = None,
) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """Load a text-to-image pipeline, ready for inference, without its safety checker.

    Args:
        name: hub id, local diffusers folder, one `.safetensors` file in the original (LDM) layout, or `demo`.
        revision: branch, tag or commit of a hub id.
        variant: which of several weight files, e.g. `fp16` for `*.fp16.safetensors`.
        dtype: number format; float16 on a CUDA GPU and float32 elsewhere when not given.
        device: a CUDA GPU, else mps, else the CPU when not given.
        config: for a single file: local folder or hub id of a diffusers model with the same architecture, whose
            configurations and tokenizer are taken; when not given, diffusers asks the hub for the usual ones.
        offload: keep the weights in the CPU's memory and move to the device what works (see `offload_pipeline`).
        prediction_type: what the UNet predicts, where the files do not say it (see `prediction.follow_prediction`).

    Raises:
        UserError: not to be found, not Stable Diffusion, only pickles, or a LoRA that does not fit.
    """
    place = choose_device(device)
    number_format = choose_dtype(dtype, place)
    if offload is not None:
        check_offload(place)
    with loading("model", name):
        path = _place(name, revision, variant, config)
        markers = read_markers(name, path) if path is not None and path.is_file() else None
        pipe = _load(name, path, revision, variant, config, number_format)
        for part in [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]:
            check_complete("model", name, part.eval())
        backbone_of(pipe).check_parts(name, pipe)
        follow_prediction(name, pipe, prediction_type, markers)
        if isinstance(pipe, StableDiffusionXLPipeline) and pipe.vae.config.force_upcast:
            pipe.vae.to(torch.float32 if number_format == torch.float16 else number_format)  # it overflows in float16
        add_loras(pipe, loras)
        if offload is None:
            return pipe.to(place)
        offload_pipeline(pipe, offload, place)
        return pipe


def _place(name: str, revision: str | None, variant: str | None, config: str | None) -> Path | None:
    """The model's folder or file, if it is local; what is said of it must mean something there."""
    path = local_path(name, "model")
    is_file = path is not None and path.is_file()
    if path is not None and revision:
        raise UserError(f"model {name!r}: revision is for hub ids")
    if is_file and variant:
        raise UserError(f"model {name!r}: variant is for hub ids and folders")
    if config and not is_file:
        raise UserError(f"model {name!r}: config is for a single .safetensors file")
    return path


def _load(
    name: str, path: Path | None, revision: str | None, variant: str | None, config: str | None, dtype: torch.dtype
) -> Any:
    if path is not None and path.is_file():
        return load_single_file(name, path, config, dtype)
    return _load_folder(name, path or _fetch(name, revision, variant), variant, dtype)


def _fetch(name: str, revision: str | None, variant: str | None) -> Path:
    pipeline_class(name, fetch_model_index(name, revision))  # before gigabytes of something else are fetched
    return fetch_pipeline(name, revision, variant)


def _load_folder(name: str, folder: Path, variant: str | None, dtype: torch.dtype) -> Any:
    pipeline = pipeline_class(name, folder / "model_index.json")
    expected = networks_of(pipeline)
    variants = {part: check_safetensors(folder / part, name, "model", variant) for part in expected}
    if variant and variant not in variants.values():
        raise UserError(f"model {name!r}: no part of it has weights of variant {variant!r}; leave variant out")
    check_beside(name, pipeline, folder)
    networks = {
        part: load_part(kind, "model", name, folder / part, dtype, variants[part]) for part, kind in expected.items()
    }
    return pipeline.from_pretrained(
        str(folder), **networks, local_files_only=True, safety_checker=None, feature_extractor=None
    )
