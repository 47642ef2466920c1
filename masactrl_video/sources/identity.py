"""Everything that determines what is recorded of a source: the cache is named by it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import diffusers
import numpy as np
import torch
from peft.tuners.lora import LoraLayer
from pydantic import JsonValue

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import ControlPlan, layers_between_maps
from masactrl_video.model.backbones.base import Backbone
from masactrl_video.model.backbones.branches import PLAIN
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.compile import is_compiled
from masactrl_video.model.device import is_channels_last
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.schedulers import timesteps_of
from masactrl_video.sources.source import Followed, GeneratedSource, RealSource
from masactrl_video.storage.fingerprint import hash_bytes, hash_module, hash_tensor


def network_identity(network: torch.nn.Module, backbone: Backbone) -> dict[str, JsonValue]:
    """Weights, configuration and the patches that diffusers can put on a network (LoRA, FreeU)."""
    loras = {
        name: [dict(layer.scaling), list(layer.active_adapters), list(layer.merged_adapters), layer.disable_adapters]
        for name, layer in network.named_modules()
        if isinstance(layer, LoraLayer)
    }
    config = {key: value for key, value in dict(getattr(network, "config", {})).items() if not key.startswith("_")}
    return {
        "weights": hash_module(network),
        "config": _as_json(config),
        "loras": _as_json(loras),
        **{name: _as_json(patch) for name, patch in backbone.patches(network).items()},
    }


def source_identity(
    source: GeneratedSource | RealSource,
    model: DiffusionModel,
    plan: ControlPlan,
    object_text: TextCondition | None,
    object_tokens: Sequence[int],
    attributes: Sequence[Sequence[int]] = (),
) -> dict[str, JsonValue]:
    """What determines the recorded keys, values and maps, as JSON."""
    common: dict[str, JsonValue] = {
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "device": model.device.type,
        "dtype": str(model.dtype),
        model.backbone.denoiser_part: network_identity(model.denoiser, model.backbone),
        "scheduler": {
            "class": type(source.scheduler).__name__,
            "config": _as_json({k: v for k, v in dict(source.scheduler.config).items() if not k.startswith("_")}),
            "timesteps": [float(t) for t in timesteps_of(source.scheduler)],
        },
        "prompts": text_identity(source.text),
        "steps": list(plan.steps),
        "layers": [layer.name for layer in plan.layers],
        "object": {
            "prompt": text_identity(object_text) if object_text is not None else None,
            "tokens": list(object_tokens),
            "layers": [layer.name for layer in plan.mask_layers],
        },
    }
    if attributes:
        common["attributes"] = [list(tokens) for tokens in attributes]
    if object_tokens and layers_between_maps(plan.layers, plan.mask_layers):
        common["object_maps"] = "by layer"  # before, these layers got the map of the whole pass
    if is_channels_last(model.denoiser):  # sums in another order, so other last digits
        common["memory_format"] = "channels_last"
    if is_compiled(model.denoiser):
        common["compiled"] = True
    return common | (_generated(source, model.backbone) if isinstance(source, GeneratedSource) else _real(source))


def _generated(source: GeneratedSource, backbone: Backbone) -> dict[str, JsonValue]:
    more: dict[str, JsonValue] = {} if source.followed is None else {"followed": _followed(source.followed)}
    if (rule := source.denoising.rule) != PLAIN:
        more["guidance_rule"] = [rule.most_length, rule.until]
    return more | {
        "source": "generated",
        "noise": hash_tensor(source.noise),
        "seed": source.denoising.seed,
        "guidance_scale": float(source.denoising.guidance_scale),
        "guidance": [
            {
                "name": network.name,
                "network": network_identity(network.module, backbone),
                "scale": float(network.scale),
                "start": float(network.start),
                "end": float(network.end),
                "pictures": [hash_tensor(tensor) for tensor in read],
            }
            for network, read in (source.guidance.read() if source.guidance is not None else ())
        ],
    }


def _followed(first: Followed) -> JsonValue:
    masks, held = first.masks, first.colours
    placed: dict[str, JsonValue] = {} if first.plan.positions == "as-is" else {"positions": first.plan.positions}
    if first.skeletons is not None:
        placed["skeletons"] = hash_bytes(repr(first.skeletons).encode())
    if held is not None:
        placed["colours"] = [held.strength, held.first_step]
    return placed | {
        "entry": first.name,
        "mode": first.plan.mode,
        "steps": list(first.plan.steps),
        "layers": [layer.name for layer in first.plan.layers],
        "masks": None if masks is None else [list(masks.target_tokens), masks.threshold, *_rim(masks)],
    }


def _rim(masks: MaskRule) -> list[JsonValue]:
    """What a rule has beside the object's words, if anything."""
    attributes = [list(tokens) for tokens in masks.attributes]
    return [masks.rim, _as_json(attributes)] if masks.rim or attributes else []


def _real(source: RealSource) -> dict[str, JsonValue]:
    own: dict[str, JsonValue] = {
        "source": "real",
        "picture": hash_tensor(source.picture_latents),
        "iterations": source.iterations,
        "replayed": source.replayed,
    }
    if source.trajectory is not None:  # kept from an inversion that another machine may have done
        own["trajectory"] = [hash_tensor(level) for level in source.trajectory.latents]
    return own


def text_identity(text: TextCondition) -> JsonValue:
    """What a denoiser reads of prompts, for the identity of a source."""
    return [hash_tensor(t) if t is not None else None for t in text.tensors().values()]


def _as_json(value: Any) -> JsonValue:
    """Configurations as JSON, tuples as lists, infinity (DPM-Solver++ has one) by its name.

    Raises:
        TypeError: a kind of value whose text may be shortened or hold an address in memory.
    """
    out: JsonValue = json.loads(json.dumps(value, sort_keys=True, default=_known), parse_constant=str)
    return out


def _known(value: Any) -> JsonValue:
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):  # a scheduler's trained_betas
        return hash_tensor(torch.as_tensor(value))
    if isinstance(value, (torch.dtype, torch.device, PurePath)):
        return str(value)
    raise TypeError(f"no fingerprint for a {type(value).__name__}: {value!r}")
