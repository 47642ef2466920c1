"""Weights of a single file that no layer takes: diffusers renames what it knows and leaves out the rest in silence.

Its own renaming is done once more, with a number in place of every weight: a weight whose number does not come out
under the name of a layer is one that was left out.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders import single_file_utils as diffusers_names
from safetensors import safe_open

logger = logging.getLogger(__name__)

_PARTS = {
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.",),
    "text_encoder": ("cond_stage_model.", "conditioner.embedders.0."),
    "text_encoder_2": ("conditioner.embedders.1.",),
}
"""Whose weights begin how."""

_HARMLESS = re.compile(
    r"(\.position_ids|logit_scale|text_projection(\.weight)?)$"  # SD-2.x: its encoder's last layer is not used either
    r"|^cond_stage_model\.model\.(transformer\.resblocks\.23|attn_mask)|^first_stage_model\.loss\."
)
_BESIDE = re.compile(
    r"^(model_ema\.|denoiser\.|(sqrt_|log_)?(recip_|recipm1_|one_minus_)*alphas?_|betas$|posterior_|lvlb_weights$"
    r"|logvar$|global_step$|scale_factor$|v_pred$|ztsnr$)|^sqrt_"
)
"""What a training leaves in its file beside the model: averages, tables of noise levels, and markers."""


def unused_in_checkpoint(path: Path, pipe: StableDiffusionPipeline) -> dict[str, list[str]]:
    """Of a whole Stable Diffusion in the original layout: part of the pipeline → weights that none of its layers took.

    Tensors that belong to no part are told in the log.
    """
    numbers = _numbered(path)
    unused: dict[str, list[str]] = {}
    rest = set(numbers)
    for part, prefixes in _PARTS.items():
        own = [key for key in numbers if key.startswith(prefixes)]
        rest -= set(own)
        if getattr(pipe, part, None) is not None:
            taken = _taken(list(numbers), _renamed(part, numbers, pipe), getattr(pipe, part))
            unused[part] = [key for key in own if key not in taken and not _HARMLESS.search(key)]
    if beside := sorted(key for key in rest if not _BESIDE.search(key)):
        logger.warning("%s: %d of its tensors belong to no part of the model, e.g. %s", path, len(beside), beside[0])
    return unused


def unused_in_controlnet(path: Path, network: torch.nn.Module) -> list[str]:
    """The same for a ControlNet, in the original layout or in diffusers' own."""
    numbers = _numbered(path)
    if any(key in network.state_dict() for key in numbers):
        return [key for key in numbers if key not in network.state_dict()]
    renamed = diffusers_names.convert_controlnet_checkpoint(dict(numbers), network.config)
    taken = _taken(list(numbers), renamed, network)
    return [key for key in numbers if key not in taken]


def _numbered(path: Path) -> dict[str, torch.Tensor]:
    """Each tensor's name with its number, in the tensor's shape; nothing of its size is allocated."""
    with safe_open(path, framework="numpy") as file:  # reads the header only
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118, it is no mapping
    return {key: torch.tensor(float(number)).expand(shape) for number, (key, shape) in enumerate(shapes.items())}


def _renamed(part: str, numbers: dict[str, torch.Tensor], pipe: StableDiffusionPipeline) -> dict[str, torch.Tensor]:
    network = getattr(pipe, part)
    out: dict[str, torch.Tensor]
    if part == "unet":
        out = diffusers_names.convert_ldm_unet_checkpoint(dict(numbers), network.config)
    elif part == "vae":
        out = diffusers_names.convert_ldm_vae_checkpoint(dict(numbers), network.config)
    elif any(key.startswith(prefix + "transformer.text_model.") for key in numbers for prefix in _PARTS[part]):
        out = diffusers_names.convert_ldm_clip_checkpoint(dict(numbers))
    else:
        (prefix,) = {prefix for prefix in _PARTS[part] if any(key.startswith(prefix) for key in numbers)}
        out = diffusers_names.convert_open_clip_checkpoint(network, dict(numbers), prefix=f"{prefix}model.")
    return out


def _taken(names: list[str], renamed: dict[str, torch.Tensor], network: torch.nn.Module) -> set[str]:
    """Names whose numbers came out as weights of the network."""
    layers = {key.removeprefix("text_model.") for key in network.state_dict()}
    return {
        names[int(tensor.flatten()[0])]
        for key, tensor in renamed.items()
        if tensor is not None and tensor.numel() and key.removeprefix("text_model.") in layers
    }
