"""Characters of FLUX.2 klein-kv: what a reference picture offers, recorded once and kept for every frame and prompt.

References attend to themselves alone and at a fixed timestep, so that their keys and values depend neither on the step
nor on the prompt nor on the size of the frames. diffusers' pipeline makes them anew in each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import Flux2KleinKVPipeline, Flux2Transformer2DModel
from diffusers.models.transformers.transformer_flux2 import Flux2KVCache
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.flux.attention import rotated
from masactrl_video.model.backbones.flux.layers import joint_layers
from masactrl_video.model.backbones.flux.packing import places
from masactrl_video.model.backbones.flux2.latents import Flux2Latents
from masactrl_video.model.backbones.joint.controls import as_pixels
from masactrl_video.model.backbones.joint.packing import PATCH, pack
from masactrl_video.model.backbones.references import JoinedReferences, KeptReference
from masactrl_video.model.offload import execution_device
from masactrl_video.storage.fingerprint import hash_module

__all__ = ["KeptReference", "record_reference", "use_references"]

_APART = 10
"""Of the first coordinate, between one reference and the next, as diffusers' pipeline has it."""

Layers = tuple[tuple[torch.Tensor, torch.Tensor], ...]
"""Keys and values (rows, tokens, heads, head_dim) of each layer, in forward order."""


@torch.no_grad()
def record_reference(pipe: Flux2KleinKVPipeline, picture: NDArray[np.uint8], place: int = 1) -> KeptReference:
    """Record what a picture offers as a reference.

    Args:
        picture: RGB uint8 (height, width, 3), sides multiples of 16.
        place: its number among several that will be used together, from 1.

    Raises:
        UserError: a picture or a pipeline that it cannot be made with.
    """
    transformer = check_takes_references(pipe.transformer)
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
    kept = extracted(transformer, latents, place)
    names = [layer.name for layer in joint_layers(transformer)]
    keys = {name: key[0] for name, (key, _) in zip(names, kept, strict=True)}
    values = {name: value[0] for name, (_, value) in zip(names, kept, strict=True)}
    return KeptReference(keys, values, place, hash_module(transformer))


def extracted(transformer: Flux2Transformer2DModel, latents: torch.Tensor, place: int) -> Layers:
    """What pictures offer as references, by their latents (rows, channels, height, width).

    The network is called past its hooks: for whoever watches the calls that make pictures, this is none.
    """
    tokens, ids = pack(latents.to(execution_device(transformer))), reference_ids(latents, place)
    rows = tokens.shape[0]
    words = tokens.new_zeros(rows, 1, transformer.config.joint_attention_dim)
    _, cache = transformer.forward(
        hidden_states=F.pad(tokens, (0, 0, 0, 1)),  # a frame of one token: nothing of it is kept
        encoder_hidden_states=words,
        timestep=tokens.new_zeros(rows),
        img_ids=F.pad(ids, (0, 0, 0, 1)).to(tokens.device),
        txt_ids=torch.zeros(1, 4, device=tokens.device),
        kv_cache_mode="extract",
        num_ref_tokens=tokens.shape[1],
        return_dict=False,
    )
    return tuple(one.get() for one in (*cache.double_block_caches, *cache.single_block_caches))


def reference_ids(latents: torch.Tensor, place: int) -> torch.Tensor:
    """(tokens, 4): where the tokens of a reference picture's latents (..., height, width) stand."""
    ids = places((latents.shape[-2] // PATCH, latents.shape[-1] // PATCH), axes=4)
    ids[:, 0] = _APART * place
    return ids


def joined(transformer: Flux2Transformer2DModel, references: Sequence[KeptReference]) -> JoinedReferences:
    """References in the order in which they are counted: each gets the place of its number.

    A reference sees itself alone, so that its keys at another place are the same, turned further.

    Raises:
        UserError: one of other weights, or a network that takes none.
    """
    check_belong(check_takes_references(transformer), references)
    placed = [moved(transformer, one, number) for number, one in enumerate(references, 1)]
    return JoinedReferences(_laid_together(transformer, placed), len(placed))


def moved(transformer: Flux2Transformer2DModel, reference: KeptReference, place: int) -> KeptReference:
    """The same reference at another place."""
    if place == reference.place:
        return reference
    device = execution_device(transformer)
    further = torch.tensor([[float(_APART * (place - reference.place)), 0.0, 0.0, 0.0]], device=device)
    turn = transformer.pos_embed(further)  # cosine and sine, each (1, head_dim)

    def turned(key: torch.Tensor) -> torch.Tensor:
        return rotated(key.to(device).transpose(0, 1)[None], turn)[0].transpose(0, 1)

    keys = {name: turned(key) for name, key in reference.keys.items()}
    return KeptReference(keys, reference.values, place, reference.transformer)


@contextmanager
def use_references(transformer: Flux2Transformer2DModel, references: Sequence[KeptReference]) -> Iterator[None]:
    """Inside the context, every call of the network sees the references, from the first step on.

    Raises:
        UserError: none, two of one place, one of other weights, or a pipeline whose attention takes none.
    """
    check_takes_references(transformer)
    numbers = [reference.place for reference in references]
    if not numbers or len(set(numbers)) != len(numbers):
        raise UserError(f"references: got places {numbers}; give at least one, each recorded at a place of its own")
    check_belong(transformer, references)
    layers = _laid_together(transformer, references)
    handle = transformer.register_forward_pre_hook(_adding(transformer, layers), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _adding(
    transformer: Flux2Transformer2DModel, layers: Layers
) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]:
    """A hook that hands all references to a call."""

    def add(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if kwargs.get("kv_cache_mode") is not None:
            raise UserError("references: this call brings a reference picture of its own; leave `image` out")
        rows = (args[0] if args else kwargs["hidden_states"]).shape[0]
        return args, {**kwargs, **beside(transformer, layers, rows)}

    return add


def beside(transformer: Flux2Transformer2DModel, layers: Layers, rows: int) -> Mapping[str, object]:
    """What hands references to a call of the network with so many rows."""
    cache = Flux2KVCache(len(transformer.transformer_blocks), len(transformer.single_transformer_blocks))
    cache.num_ref_tokens = layers[0][0].shape[1]
    for one, (key, value) in zip((*cache.double_block_caches, *cache.single_block_caches), layers, strict=True):
        key, value = (states.to(transformer.dtype).expand(rows, -1, -1, -1) for states in (key, value))
        one.store(key, value)
    return {"kv_cache": cache, "kv_cache_mode": "cached"}


def _laid_together(transformer: Flux2Transformer2DModel, references: Sequence[KeptReference]) -> Layers:
    """All of them, where the network is and in its number format."""
    where = (execution_device(transformer), transformer.dtype)
    names = [layer.name for layer in joint_layers(transformer)]

    def together(parts: Sequence[Mapping[str, torch.Tensor]], name: str) -> torch.Tensor:
        return torch.cat([part[name].to(*where) for part in parts])[None]

    keys, values = [one.keys for one in references], [one.values for one in references]
    return tuple((together(keys, name), together(values, name)) for name in names)


def takes_references(transformer: torch.nn.Module) -> bool:
    """Whether a network can be handed kept references."""
    return not _others(transformer)


def check_takes_references(transformer: Flux2Transformer2DModel) -> Flux2Transformer2DModel:
    """See that a network can be handed kept references.

    Raises:
        UserError: its attention takes none.
    """
    if others := _others(transformer):
        raise UserError(
            f"references: this model's attention is a {others[0]}, which takes no kept references; load it as a "
            "Flux2KleinKVPipeline (FLUX.2-klein-9b-kv)"
        )
    return transformer


def _others(transformer: torch.nn.Module) -> list[str]:
    modules: list[Any] = [transformer.get_submodule(layer.name) for layer in joint_layers(transformer)]
    kinds = {type(getattr(module.processor, "original", module.processor)).__name__ for module in modules}
    return sorted(kind for kind in kinds if not kind.startswith("Flux2KV"))


def check_belong(transformer: Flux2Transformer2DModel, references: Sequence[KeptReference]) -> None:
    """See that references were recorded with this network.

    Raises:
        UserError: one was not.
    """
    own = hash_module(transformer)
    if any(reference.transformer != own for reference in references):
        raise UserError("references: one was recorded with other weights; record it anew with this model")
