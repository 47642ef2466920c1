"""Characters of FLUX.2 klein-kv: what a reference picture offers, recorded once and kept for every frame and prompt.

References attend to themselves alone and at a fixed timestep, so that their keys and values depend neither on the step
nor on the prompt nor on the size of the frames. diffusers' pipeline makes them anew in each call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import Flux2KleinKVPipeline, Flux2Transformer2DModel
from diffusers.models.transformers.transformer_flux2 import Flux2KVCache
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.flux.layers import joint_layers
from masactrl_video.model.backbones.flux.packing import places
from masactrl_video.model.backbones.flux2.latents import Flux2Latents
from masactrl_video.model.backbones.joint.controls import as_pixels
from masactrl_video.model.backbones.joint.packing import PATCH, pack
from masactrl_video.model.offload import execution_device
from masactrl_video.storage.fingerprint import hash_module

_FORMAT = "flux2-klein-kv-reference-1"
_APART = 10
"""Of the first coordinate, between one reference and the next, as diffusers' pipeline has it."""


@dataclass(frozen=True)
class KeptReference:
    """What one reference picture offers in each layer."""

    keys: Mapping[str, torch.Tensor]
    """By layer: (tokens, heads, head_dim), with their places."""
    values: Mapping[str, torch.Tensor]
    place: int
    """1 for the first of several references; two of one place cannot be used together."""
    transformer: str
    """Hash of the network that made them."""

    def save(self, path: Path) -> None:
        """Write it as one `.safetensors` file."""
        tensors = {f"{name}.key": key.contiguous().cpu() for name, key in self.keys.items()}
        tensors |= {f"{name}.value": value.contiguous().cpu() for name, value in self.values.items()}
        said = {"format": _FORMAT, "place": self.place, "transformer": self.transformer}
        save_file(tensors, path, metadata={"reference": json.dumps(said)})

    @classmethod
    def load(cls, path: Path) -> KeptReference:
        """Read what `save` wrote.

        Raises:
            UserError: no such file, or none of a reference.
        """
        try:
            with safe_open(path, framework="pt") as file:
                said = json.loads((file.metadata() or {}).get("reference", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            raise UserError(
                f"reference {str(path)!r}: cannot be read ({error}); give a file of KeptReference.save"
            ) from error
        if not isinstance(said, dict) or said.get("format") != _FORMAT:
            raise UserError(f"reference {str(path)!r}: holds no reference; give a file of KeptReference.save")
        parts = [
            {name.removesuffix(end): tensor for name, tensor in tensors.items() if name.endswith(end)}
            for end in (".key", ".value")
        ]
        return cls(parts[0], parts[1], int(said["place"]), str(said["transformer"]))


@torch.no_grad()
def record_reference(pipe: Flux2KleinKVPipeline, picture: NDArray[np.uint8], place: int = 1) -> KeptReference:
    """Record what a picture offers as a reference.

    Args:
        picture: RGB uint8 (height, width, 3), sides multiples of 16.
        place: its number among several that will be used together, from 1.

    Raises:
        UserError: a picture or a pipeline that it cannot be made with.
    """
    transformer = _checked(pipe.transformer)
    factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    height, width = picture.shape[:2]
    if height % (factor * PATCH) or width % (factor * PATCH) or place < 1:
        raise UserError(
            f"reference: got a picture of {width} x {height} at place {place}; sides must be multiples of "
            f"{factor * PATCH}, places count from 1"
        )
    space = Flux2Latents(pipe.vae.config.latent_channels, factor, factor * PATCH, (height, width))
    latents = space.encode(
        pipe.vae, as_pixels(picture[None]).to(execution_device(pipe.vae), pipe.vae.dtype), transformer.dtype
    )
    tokens = pack(latents.to(execution_device(transformer)))
    ids = places((height // factor // PATCH, width // factor // PATCH), axes=4)
    ids[:, 0] = _APART * place
    words = tokens.new_zeros(1, 1, transformer.config.joint_attention_dim)
    _, cache = transformer(
        hidden_states=F.pad(tokens, (0, 0, 0, 1)),  # a frame of one token: nothing of it is kept
        encoder_hidden_states=words,
        timestep=tokens.new_zeros(1),
        img_ids=F.pad(ids, (0, 0, 0, 1)).to(tokens.device),
        txt_ids=torch.zeros(1, 4, device=tokens.device),
        kv_cache_mode="extract",
        num_ref_tokens=tokens.shape[1],
        return_dict=False,
    )
    names = [layer.name for layer in joint_layers(transformer)]
    kept = [one.get() for one in (*cache.double_block_caches, *cache.single_block_caches)]
    keys = {name: key[0] for name, (key, _) in zip(names, kept, strict=True)}
    values = {name: value[0] for name, (_, value) in zip(names, kept, strict=True)}
    return KeptReference(keys, values, place, hash_module(transformer))


@contextmanager
def use_references(transformer: Flux2Transformer2DModel, references: Sequence[KeptReference]) -> Iterator[None]:
    """Inside the context, every call of the network sees the references, from the first step on.

    Raises:
        UserError: none, two of one place, one of other weights, or a pipeline whose attention takes none.
    """
    _checked(transformer)
    numbers = [reference.place for reference in references]
    if not numbers or len(set(numbers)) != len(numbers):
        raise UserError(f"references: got places {numbers}; give at least one, each recorded at a place of its own")
    own = hash_module(transformer)
    if any(reference.transformer != own for reference in references):
        raise UserError("references: one was recorded with other weights; record it anew with this model")
    handle = transformer.register_forward_pre_hook(_adding(transformer, references), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _adding(
    transformer: Flux2Transformer2DModel, references: Sequence[KeptReference]
) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]:
    """A hook that hands all references to a call."""
    names = [layer.name for layer in joint_layers(transformer)]
    joined = [
        [
            torch.cat([part[name] for part in parts]).to(execution_device(transformer), transformer.dtype)
            for parts in ([one.keys for one in references], [one.values for one in references])
        ]
        for name in names
    ]

    def add(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if kwargs.get("kv_cache_mode") is not None:
            raise UserError("references: this call brings a reference picture of its own; leave `image` out")
        rows = (args[0] if args else kwargs["hidden_states"]).shape[0]
        cache = Flux2KVCache(len(transformer.transformer_blocks), len(transformer.single_transformer_blocks))
        cache.num_ref_tokens = joined[0][0].shape[0]
        for one, (key, value) in zip((*cache.double_block_caches, *cache.single_block_caches), joined, strict=True):
            one.store(key.expand(rows, -1, -1, -1), value.expand(rows, -1, -1, -1))
        return args, {**kwargs, "kv_cache": cache, "kv_cache_mode": "cached"}

    return add


def _checked(transformer: Flux2Transformer2DModel) -> Flux2Transformer2DModel:
    kinds = {type(transformer.get_submodule(layer.name).processor).__name__ for layer in joint_layers(transformer)}
    if others := sorted(kind for kind in kinds if not kind.startswith("Flux2KV")):
        raise UserError(
            f"references: this model's attention is a {others[0]}, which takes no kept references; load it as a "
            "Flux2KleinKVPipeline (FLUX.2-klein-9b-kv)"
        )
    return transformer
