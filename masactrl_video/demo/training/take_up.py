"""Turns a folder of weights that was exported back into a training's checkpoints, so that the training goes on."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    FluxControlNetModel,
    FluxTransformer2DModel,
    T2IAdapter,
    UNet2DConditionModel,
)
from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from masactrl_video.demo.folder import CONDITIONS, TRAINING
from masactrl_video.demo.tokenizer import build_tokenizer
from masactrl_video.demo.training.checkpoint import plain, save_checkpoint
from masactrl_video.demo.world.vocabulary import known_words
from masactrl_video.poses.detectors.network import KeypointNetwork


def take_up(weights: Path, out: Path) -> None:
    """Writes the checkpoints of every stage; those that are there already stay.

    The moving averages are what was exported, so they are what each network starts from; the optimizer starts anew.

    Args:
        weights: what ``masactrl_video.demo.export`` wrote; of the transformer's folder only the transformer is taken.
        out: the ``--out`` of the training that goes on.

    Raises:
        ValueError: the tokens are no longer those of the world's words.
    """
    states = json.loads((weights / TRAINING).read_text(encoding="utf-8"))
    stages = _transformers(weights) if (weights / "transformer").exists() else _unets(weights, out)
    for name, networks in stages.items():
        checkpoint = out / name / "checkpoint"
        if name in states and not checkpoint.exists():
            averages = {key: network.state_dict() for key, network in networks.items()}
            parameters = [weight for network in networks.values() for weight in network.parameters()]
            save_checkpoint(checkpoint, networks, averages, torch.optim.AdamW(parameters), states[name])


def _transformers(weights: Path) -> dict[str, dict[str, nn.Module]]:
    """The networks of the transformer's stage, by that stage."""
    return {
        "dit": {
            "transformer": FluxTransformer2DModel.from_pretrained(weights / "transformer", torch_dtype=torch.float32),
            "controlnet": FluxControlNetModel.from_pretrained(weights / "controlnet-pose", torch_dtype=torch.float32),
        }
    }


def _unets(weights: Path, out: Path) -> dict[str, dict[str, nn.Module]]:
    """The networks of all other stages, by their stage; the autoencoder is written to ``out`` unless it is there."""
    vae = AutoencoderKL.from_pretrained(weights / "vae", torch_dtype=torch.float32)
    if not (out / "vae.safetensors").exists():
        out.mkdir(parents=True, exist_ok=True)
        save_file(plain(vae.state_dict()), out / "vae.safetensors")
    decoder = nn.ModuleList([vae.post_quant_conv, vae.decoder])
    return {
        "vae": {"vae": vae},
        "decoder": {"decoder": decoder},
        "keypoints": {"keypoints": KeypointNetwork.from_pretrained(weights / "keypoints", torch_dtype=torch.float32)},
        "unet": _denoiser(weights),
        "taesd": {"taesd": AutoencoderTiny.from_pretrained(weights / "taesd", torch_dtype=torch.float32)},
    }


def _denoiser(weights: Path) -> dict[str, nn.Module]:
    """UNet, text encoder, and the networks that guide them, by the names that the training has for them."""
    kinds: dict[str, type[ModelMixin]] = {"unet": UNet2DConditionModel}
    kinds |= {f"controlnet-{condition}": ControlNetModel for condition in CONDITIONS}
    kinds |= {f"t2i-adapter-{condition}": T2IAdapter for condition in CONDITIONS}
    networks: dict[str, nn.Module] = {
        name: kind.from_pretrained(weights / name, torch_dtype=torch.float32) for name, kind in kinds.items()
    }
    text_encoder = CLIPTextModel.from_pretrained(weights / "text_encoder", dtype=torch.float32)
    _use_present_ids(text_encoder, CLIPTokenizer.from_pretrained(weights / "tokenizer"))
    return {**networks, "text_encoder": text_encoder}


@torch.no_grad()
def _use_present_ids(text_encoder: CLIPTextModel, exported: CLIPTokenizer) -> None:
    """Each token's row of the embedding goes where a tokenizer that is built now has that token."""
    present = build_tokenizer(known_words(), exported.model_max_length).get_vocab()
    before = exported.get_vocab()
    if present.keys() != before.keys():
        raise ValueError("the exported tokenizer has other tokens than the world's words give now")
    rows = text_encoder.get_input_embeddings().weight
    rows[list(present.values())] = rows[[before[token] for token in present]]
