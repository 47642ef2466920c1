"""Loading a model and the control networks beside it, from wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from accelerate import init_empty_weights
from safetensors import safe_open

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice
from masactrl_video.model.backbones.parts import Pipeline
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.compile import compile_network, is_compiled
from masactrl_video.model.device import choose_device, choose_dtype, is_channels_last
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.checks import check_beside, pipeline_class
from masactrl_video.model.loading.hub import fetch_model_index, fetch_pipeline
from masactrl_video.model.loading.loading import loading
from masactrl_video.model.loading.location import check_safetensors, local_path, read_json
from masactrl_video.model.loading.lora import LoraFile, add_loras
from masactrl_video.model.loading.single_file import load_single_file, pipeline_of_file
from masactrl_video.model.loading.weights import check_complete, load_part, refuse_missing, refuse_unused
from masactrl_video.model.offload import check_offload, follow_offload, offload_pipeline
from masactrl_video.settings.names import DtypeName, OffloadKind, PredictionType


class HowToLoad(TypedDict, total=False):
    """What may be said of a model besides its name."""

    revision: str | None
    """Branch, tag or commit of a hub id."""
    variant: str | None
    """Which of several weight files, e.g. `fp16` for `*.fp16.safetensors`."""
    dtype: DtypeName | None
    """Number format; float16 on a CUDA GPU and float32 elsewhere when not given."""
    device: str | None
    """A CUDA GPU, else mps, else the CPU when not given."""
    config: str | None
    """For a single file: local folder or hub id of a diffusers model with the same architecture, whose configurations
    and tokenizer are taken; when not given, diffusers asks the hub for the usual ones."""
    loras: Sequence[LoraFile]
    """Low-rank changes of its weights."""
    offload: OffloadKind | None
    """Keep the weights in the CPU's memory and move to the device what works (see `offload_pipeline`)."""
    prediction_type: PredictionType | None
    """What the denoiser predicts, where the files do not say it (see `prediction.follow_prediction`)."""


def load_model(name: str, *, networks: Sequence[NetworkChoice] = (), **how: Unpack[HowToLoad]) -> DiffusionModel:
    """Load a model with its control networks, all on one device in one number format.

    Raises:
        UserError: anything is missing, of a wrong kind, or does not fit together.
    """
    for choice in networks:
        if choice.kind != "reference":
            local_path(choice.name, choice.kind)  # a mistyped path is told before gigabytes are loaded
    pipe = load_pipeline(name, **how)
    return DiffusionModel(pipe, tuple(load_guidance(pipe, choice) for choice in networks))


def load_guidance(pipe: Pipeline, choice: NetworkChoice) -> ControlNetwork:
    """Load a control network for a loaded pipeline, on its device, in its formats, and compiled if that is.

    Raises:
        UserError: not to be found, of a wrong kind, or made for another kind of model.
    """
    backbone = backbone_of(pipe)
    denoiser = backbone.denoiser(pipe)
    if choice.kind == "reference" and not backbone.reads_reference_pictures:
        raise UserError(
            f"guidance {choice.guidance!r}: {backbone.title} reads no reference pictures (FLUX.2 does); name a "
            f"ControlNet instead, --controlnet {choice.guidance}=MODEL, or leave it out"
        )
    network = backbone.load_control(choice, denoiser)
    if is_channels_last(denoiser):
        network.module.to(memory_format=torch.channels_last)
    if is_compiled(denoiser):
        compile_network(network.module)
    follow_offload(denoiser, network.module)
    return network


def load_pipeline(name: str, **how: Unpack[HowToLoad]) -> Pipeline:
    """Load a text-to-image pipeline, ready for inference, without its safety checker.

    Args:
        name: hub id, local diffusers folder, one `.safetensors` file in its authors' layout, or `demo`.

    Raises:
        UserError: not to be found, of no family that works here, only pickles, or a LoRA that does not fit.
    """
    place, offload = choose_device(how.get("device")), how.get("offload")
    dtype = choose_dtype(how.get("dtype"), place)
    if offload is not None:
        check_offload(place)
    with loading("model", name):
        path = _place(name, how)
        pipe = _load(name, path, how, dtype)
        for part in [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]:
            check_complete("model", name, part.eval())
        file = path if path is not None and path.is_file() else None
        backbone_of(pipe).files.complete(name, pipe, file, how.get("prediction_type"), dtype)
        add_loras(pipe, how.get("loras", ()))
        if offload is None:
            return pipe.to(place)
        offload_pipeline(pipe, offload, place)
        return pipe


def _place(name: str, how: HowToLoad) -> Path | None:
    """The model's folder or file, if it is local; what is said of it must mean something there."""
    path = local_path(name, "model")
    is_file = path is not None and path.is_file()
    if path is not None and how.get("revision"):
        raise UserError(f"model {name!r}: revision is for hub ids")
    if is_file and how.get("variant"):
        raise UserError(f"model {name!r}: variant is for hub ids and folders")
    if how.get("config") and not is_file:
        raise UserError(f"model {name!r}: config is for a single .safetensors file")
    return path


def _load(name: str, path: Path | None, how: HowToLoad, dtype: torch.dtype) -> Pipeline:
    if path is not None and path.is_file():
        backbone, pipeline = pipeline_of_file(name, path)
        if (part := backbone.files.part_in_file(pipeline)) is not None:
            return _load_around(name, path, how.get("config"), dtype, *part)
        return load_single_file(name, path, how.get("config"), dtype)
    variant = how.get("variant")
    return _load_folder(name, path or _fetch(name, how.get("revision"), variant), variant, dtype)


def _load_around(name: str, file: Path, config: str | None, dtype: torch.dtype, part: str, kind: type[Any]) -> Pipeline:
    """A pipeline whose `part` is a file of its own; its other parts are taken from the folder of a whole model."""
    if config is None:
        raise UserError(
            f"model {name!r}: the file holds the {part} alone; give as config the folder or hub id of a whole model of "
            "its kind, whose other parts are taken"
        )
    folder = local_path(config, "config") or _fetch(config, None, None)
    _check_layout(name, file, folder / part, kind)
    network = kind.from_single_file(
        str(file), config=str(folder), subfolder=part, torch_dtype=dtype, local_files_only=True
    )
    return _load_folder(config, folder, None, dtype, {part: network})


def _check_layout(name: str, file: Path, folder: Path, kind: type[Any]) -> None:
    """See that a file in diffusers' own layout has exactly the weights of a network; its authors' is renamed later."""
    with init_empty_weights():
        own = set(kind.from_config(kind.load_config(str(folder), local_files_only=True)).state_dict())
    with safe_open(file, framework="numpy") as tensors:  # reads the header only
        keys = set(tensors.keys())
    if own & keys:
        refuse_missing("model", name, own - keys)
        refuse_unused("model", name, kind.__name__, keys - own)


def _fetch(name: str, revision: str | None, variant: str | None) -> Path:
    pipeline_class(name, fetch_model_index(name, revision))  # before gigabytes of something else are fetched
    return fetch_pipeline(name, revision, variant)


def _load_folder(
    name: str,
    folder: Path,
    variant: str | None,
    dtype: torch.dtype,
    networks: dict[str, torch.nn.Module] | None = None,
) -> Pipeline:
    """A pipeline from its folder, but for those of its networks that are there already."""
    backbone, pipeline = pipeline_class(name, folder / "model_index.json")
    expected = backbone.files.networks_in(pipeline, read_json(folder / "model_index.json", "model", name))
    networks = networks or {}
    expected = {part: kind for part, kind in expected.items() if part not in networks}
    variants = {part: check_safetensors(folder / part, name, "model", variant) for part in expected}
    if variant and variant not in variants.values():
        raise UserError(f"model {name!r}: no part of it has weights of variant {variant!r}; leave variant out")
    check_beside(name, backbone, pipeline, folder)
    networks |= {
        part: load_part(kind, "model", name, folder / part, dtype, variants[part]) for part, kind in expected.items()
    }
    pipe: Pipeline = pipeline.from_pretrained(
        str(folder), **networks, local_files_only=True, safety_checker=None, feature_extractor=None
    )
    return pipe
