"""Weights that wait in the CPU's memory until they are asked for, so that a model fits into a smaller GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from accelerate.utils import send_to_device
from diffusers.hooks import apply_group_offloading

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.settings.names import OffloadKind

_CPU = torch.device("cpu")


def check_offload(device: torch.device) -> None:
    """See that there is a device to move weights to.

    Raises:
        UserError: the run is on the CPU, or on one that shares its memory.
    """
    if device.type != "cuda":
        raise UserError(
            f"offload: it keeps weights in the CPU's memory until a CUDA GPU needs them, but this run is on {device}; "
            "leave it out"
        )


def offload_pipeline(pipe: Any, kind: OffloadKind, device: torch.device) -> None:
    """Let the parts of a pipeline on the CPU come to `device` only for their work.

    Args:
        kind: `model`: text encoders, then UNet and guidance networks, then the VAE, whole; `sequential`: layer by
            layer, which needs least memory and is much slower.
    """
    text = [part for name, part in pipe.components.items() if name.startswith("text_encoder") and part is not None]
    groups: dict[str, list[torch.nn.Module]] = {
        "text": text,
        "denoise": [backbone_of(pipe).denoiser(pipe)],
        "pixels": [pipe.vae],
    }
    for name, parts in groups.items():
        for part in parts:
            if kind == "model":
                add_hook_to_module(part, OneGroup(name, groups, device))
            else:
                _by_layer(part, device)


def follow_offload(unet: torch.nn.Module, network: torch.nn.Module) -> None:
    """Treat a guidance network like the UNet that it works beside."""
    hook = getattr(unet, "_hf_hook", None)
    if isinstance(hook, OneGroup):
        network.to(_CPU)
        hook.groups[hook.name].append(network)
        embedding = getattr(network, "controlnet_cond_embedding", None)  # a frame's pictures pass it alone, once
        for part in (network, embedding) if embedding is not None else (network,):
            add_hook_to_module(part, OneGroup(hook.name, hook.groups, hook.execution_device))
    elif any(hasattr(part, "_diffusers_hook") for part in unet.modules()):
        _by_layer(network, execution_device(unet))


def execution_device(network: Any) -> torch.device:
    """Where a network computes, wherever its weights are meanwhile."""
    hook = getattr(network, "_hf_hook", None)
    device: torch.device = hook.execution_device if isinstance(hook, OneGroup) else network.device
    return device


@contextmanager
def set_aside(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Inside the context, weights on a GPU lie in the CPU's memory: others work there. Afterwards they are back.

    What comes to the GPU layer by layer stays as it is: it lies in the CPU's memory already.
    """
    with ExitStack() as stack:
        for module in modules:
            place = next((parameter.device for parameter in module.parameters()), _CPU)
            if place.type == "cuda" and not any(hasattr(part, "_diffusers_hook") for part in module.modules()):
                stack.callback(module.to, place)
                module.to(_CPU)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        yield


class OneGroup(ModelHook):  # type: ignore[misc]
    """Before a network works, it comes to the device, and those of the other groups leave it.

    As diffusers' `enable_model_cpu_offload`, which is for a pipeline's own call: there, nothing leaves between two
    frames, and ControlNets stay beside the VAE.
    """

    def __init__(self, name: str, groups: Mapping[str, list[torch.nn.Module]], device: torch.device) -> None:
        self.name, self.groups = name, groups
        self.execution_device = device
        """diffusers asks for it by this name."""

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """See above; arguments come along."""
        for name, parts in self.groups.items():
            for part in parts:
                if name != self.name and not _is_on(part, _CPU):
                    part.to(_CPU)
        if not _is_on(module, self.execution_device):
            module.to(self.execution_device)
        return send_to_device(args, self.execution_device), send_to_device(kwargs, self.execution_device)


def _is_on(module: torch.nn.Module, device: torch.device) -> bool:
    return next(module.parameters()).device == device


def _by_layer(module: torch.nn.Module, device: torch.device) -> None:
    # without streams: they keep copies of the weights, which a change of the number format would not reach
    apply_group_offloading(module, onload_device=device, offload_device=_CPU, offload_type="leaf_level")
