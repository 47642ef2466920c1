"""The demo models on disk: ordinary diffusers folders, and the networks for guidance beside their parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masactrl_video.storage.staging import staged_folder

if TYPE_CHECKING:  # where the weights lie is asked before any library of models is loaded
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        DiffusionPipeline,
        FlowMatchEulerDiscreteScheduler,
        FluxTransformer2DModel,
        UNet2DConditionModel,
    )
    from diffusers.models.modeling_utils import ModelMixin
    from transformers import CLIPTextModel, CLIPTokenizer

WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the UNet, and of what both models have beside them."""

MODELS = {"demo": WEIGHTS, "demo-dit": Path(__file__).parent / "weights_dit"}
"""Folders of the package's own models, by name (`OWN_MODELS`)."""

TRAINING = "training.json"
"""How far each stage was trained when the weights were exported: steps, samples and seconds."""

CONDITIONS = ("pose", "canny")


def write_weights(
    folder: Path,
    *,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    beside: Mapping[str, ModelMixin],
    card: str,
    training: Mapping[str, Mapping[str, object]],
) -> None:
    """Writes everything in float16 safetensors; ``folder`` is replaced as a whole or left as it was.

    Args:
        beside: ControlNets, T2I-Adapters, the keypoint network and the tiny autoencoder by the name of their folder,
            such as ``controlnet-pose``.
        card: what the model is and how it was made, for its README.md.
        training: the state of each stage's training, none if there was none.
    """
    from diffusers import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    _write(folder, pipeline, ("",), beside, card, training)


def write_transformer_weights(
    folder: Path,
    *,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    transformer: FluxTransformer2DModel,
    scheduler: FlowMatchEulerDiscreteScheduler,
    beside: Mapping[str, ModelMixin],
    card: str,
    training: Mapping[str, Mapping[str, object]],
) -> None:
    """Writes a folder that `FluxPipeline` loads, as `write_weights` does.

    The text encoder is both of FLUX's, so a caller gives `max_sequence_length` no more than the tokenizer's length.
    """
    from diffusers import FluxPipeline

    vae.register_to_config(shift_factor=0.0)  # FLUX's pipeline computes with it
    pipeline: Any = FluxPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder,
        tokenizer_2=tokenizer,
        transformer=transformer,
        scheduler=scheduler,
    )
    _write(folder, pipeline, ("", "_2"), beside, card, training)


def _write(
    folder: Path,
    pipeline: DiffusionPipeline,
    encoders: tuple[str, ...],
    beside: Mapping[str, ModelMixin],
    card: str,
    training: Mapping[str, Mapping[str, object]],
) -> None:
    """Writes a pipeline and what lies beside it.

    Args:
        encoders: how the names of its text encoders and tokenizers end.
    """
    import torch

    with staged_folder(folder, "replace") as whole:
        pipeline.to(torch.float16).save_pretrained(whole)
        for ending in encoders:
            tokenizer = getattr(pipeline, f"tokenizer{ending}")
            # vocab.json, merges.txt: transformers 4 reads them
            tokenizer.backend_tokenizer.model.save(str(whole / f"tokenizer{ending}"))
            _load_as_float32(whole / f"text_encoder{ending}" / "config.json")
        for name, network in beside.items():
            network.to(torch.float16).save_pretrained(whole / name)
        (whole / "README.md").write_text(card, encoding="utf-8")
        (whole / TRAINING).write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8")


def _load_as_float32(config: Path) -> None:
    """transformers gives a model the type it was saved in, diffusers gives float32: let both do the latter."""
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "dtype": "float32"}, indent=2, sort_keys=True) + "\n")
