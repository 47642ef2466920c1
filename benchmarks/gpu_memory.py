"""What a run needs of a GPU's memory in float16, counted without one: weights, and the most tensors alive at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import init_empty_weights
from shapes import CLIP_BIG_G, CLIP_L, FAMILIES
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
from without_values import META, EmptyStep, empty_networks


def count_memory(name: str, width_px: int, height_px: int, frames: int) -> dict[str, int]:
    """Bytes of each thing that is on the GPU at some time. Pictures are decoded one at a time, here in float32, for
    which SDXL's VAE is known; its weights are then there in float32 too."""
    unet, controlnet, vae = empty_networks(name)
    latent_size = (height_px // 8, width_px // 8)
    step = EmptyStep.of(unet, controlnet, latent_size, 8, FAMILIES[name].masa_layer, frames, torch.float16)
    with step.ours() as work:
        step_bytes = peak_bytes(work)
    vae = vae.to(META, torch.float32)
    latents = torch.empty(1, vae.config.latent_channels, *latent_size, device=META)
    return {
        "text_weights": sum(_weights(encoder) // 2 for encoder in _text_encoders(name)),
        "denoising_weights": _weights(step.unet) + _weights(step.controlnet),
        "vae_weights": _weights(vae) // 2,
        "step": step_bytes,
        "cache_step": step.cache_bytes,
        "decoding": peak_bytes(lambda: vae.decode(latents)),
    }


def most(found: dict[str, int], offload: bool) -> int:
    """The most that is there at one time: everything's weights, or with `--offload model` those of what works.

    Two steps of the cache are: the one in use, and the next.
    """
    weights = {"text": found["text_weights"], "denoise": found["denoising_weights"], "pixels": found["vae_weights"]}
    cache = 2 * found["cache_step"]
    needed = {"denoise": found["step"] + cache, "pixels": found["decoding"] + found["vae_weights"] + cache}
    return max((weights[work] if offload else sum(weights.values())) + more for work, more in needed.items())


def peak_bytes(work: Callable[[], Any]) -> int:
    """The largest sum of all tensors that are alive at a time and that `work` made, where attention is fused."""
    with torch.no_grad(), _FusedAttention(), _LiveTensors() as live:
        work()
    return live.peak


class _FusedAttention(TorchFunctionMode):
    """Attention that holds nothing but its output, as a GPU's fused kernels do."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        named = {**dict(zip(("query", "key", "value"), args, strict=False)), **(kwargs or {})}
        query, value = named["query"], named["value"]
        rows, heads, tokens, _ = query.shape
        return query.new_empty(rows, tokens, heads, value.shape[-1]).transpose(1, 2)


class _LiveTensors(TorchDispatchMode):
    """Adds up the memory behind the tensors that operations return, as long as it is held; views add nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for storage in _storages((args, kwargs)):  # weights, say, and whatever else was there before
            self._known.add(storage._cdata)
        out = func(*args, **(kwargs or {}))
        for storage in _storages(out):
            if storage._cdata not in self._known:
                self._known.add(storage._cdata)
                self._now += storage.nbytes()
                self.peak = max(self.peak, self._now)
                weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        return out

    def _freed(self, number: int, size: int) -> None:
        self._known.discard(number)
        self._now -= size


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _weights(module: torch.nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def _text_encoders(name: str) -> list[torch.nn.Module]:
    with init_empty_weights():  # transformers' default sizes of the vocabulary are CLIP's
        first = CLIPTextModel(CLIPTextConfig(**CLIP_L))
        return [first, CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_BIG_G))] if name == "SDXL" else [first]
