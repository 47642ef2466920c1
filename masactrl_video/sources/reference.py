"""Saved characters whose references stand beside every frame, from the first step on: no step of theirs is recorded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch
from pydantic import JsonValue

from masactrl_video.attention.plan import ControlPlan
from masactrl_video.cache.index import REFERENCES
from masactrl_video.cache.making import making, open_or_discard
from masactrl_video.cache.manage import Quota, make_room
from masactrl_video.cache.recorded_source import CachedSource, reference_name
from masactrl_video.cache.store import CacheWriter, open_entry
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.references import KeptReference
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.index import REFERENCE_NAME, CharacterIndex
from masactrl_video.sources.characters.kind import characters_of, index_of
from masactrl_video.sources.characters.store import Character
from masactrl_video.sources.identity import network_identity
from masactrl_video.storage.fingerprint import fingerprint, hash_tensor

logger = logging.getLogger(__name__)

NOTHING = ControlPlan((), ())
"""Where mutual self-attention acts beside references: nowhere."""


@dataclass(frozen=True)
class ReferenceSource:
    """References, and the picture of the first."""

    references: tuple[KeptReference, ...]
    made: tuple[str, ...]
    """SHA-256 of each one's file."""
    picture_latents: torch.Tensor
    """(1, channels, height, width), scaled."""


def network_of(model: DiffusionModel) -> str:
    """Fingerprint of the network that references are made by, with its LoRAs."""
    return fingerprint(network_identity(model.denoiser, model.backbone))


def check_references(settings: Settings, model: DiffusionModel) -> None:
    """See that the model can be handed the references of the characters, and that nothing is asked for in vain.

    Raises:
        UserError: another model's, or a setting that they leave without effect.
    """
    check_named(settings, model, characters_of(settings))
    character = f"character {settings.character!r} is a reference, which is seen as a whole, at every step"
    for name in ("attention_mode", "source_positions", "neighbour", "hold_colours", "cast", "sources", "key_frames"):
        if (own := getattr(settings, name)) != type(settings).model_fields[name].default:
            raise UserError(f"{name}: got {own!r}; {character}; leave it out")


def check_named(settings: Settings, model: DiffusionModel, names: Sequence[str]) -> None:
    """See that characters are references, and that the model can be handed them.

    Raises:
        UserError: one is none, or was made by another model.
    """
    for name in names:
        index = index_of(settings, name)
        if index.recipe.kind != "reference":
            raise UserError(
                f"references: character {name!r} is none: it was made step by step, with another kind of model; make "
                "it anew with FLUX.2 klein-kv, or leave it out"
            )
        check_belongs(index, model)


def check_belongs(index: CharacterIndex, model: DiffusionModel) -> None:
    """See that a character's reference was made by this model's network.

    Raises:
        UserError: it was not.
    """
    recipe = index.recipe
    assert recipe.kind == "reference" and recipe.reference is not None
    facts, name = recipe.reference, f"character {index.name!r} is a reference made with {recipe.model}"
    if not model.backbone.takes_references(model.denoiser):
        raise UserError(f"{name} (FLUX.2 klein-kv); this model ({model.backbone.title}) takes none: take that one")
    if facts.network != network_of(model):
        raise UserError(
            f"{name} in {facts.dtype}, by other weights, LoRAs or number format than this model's; take the same, or "
            "make it anew with this one"
        )


def read_reference(character: Character) -> KeptReference:
    """The reference of a character that was checked byte by byte.

    Raises:
        UserError: its file holds none.
    """
    return KeptReference.from_bytes(character.read(REFERENCE_NAME), str(character.folder / REFERENCE_NAME))


def say_reference(index: CharacterIndex) -> None:
    """What a run says of a character that is a reference."""
    recipe = index.recipe
    assert recipe.kind == "reference" and recipe.reference is not None
    logger.info(
        "character %s: its reference, %d tokens, stands beside every frame from step 0 on, in all %d layers",
        *(index.name, recipe.reference.tokens, recipe.reference.layers),
    )


def cached_references(root: Path, model: DiffusionModel, source: ReferenceSource, quota: Quota | None) -> CachedSource:
    """References in the cache at `root`, from where every process reads them.

    Raises:
        CacheDamaged: an entry that is damaged and cannot be removed.
        StorageError: no space, no permission to write, or the quota is too small.
    """
    identity: dict[str, JsonValue] = {
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "source": "reference",
        "device": model.device.type,
        "dtype": str(model.dtype),
        model.backbone.denoiser_part: network_identity(model.denoiser, model.backbone),
        "picture": hash_tensor(source.picture_latents),
        REFERENCES: [
            {"sha256": sha256, "place": one.place, "transformer": one.transformer}
            for one, sha256 in zip(source.references, source.made, strict=True)
        ],
    }
    name = fingerprint(identity)
    with making(root, name):
        entry = open_or_discard(root, name)
        if entry is None:
            _write(root, identity, source, quota)
            entry = open_entry(root, name)
            assert entry is not None
        else:
            logger.info("source: cache entry %s is reused", name)
    entry.touch()
    return CachedSource(entry, model.device)


def _write(root: Path, identity: dict[str, JsonValue], source: ReferenceSource, quota: Quota | None) -> None:
    needed_bytes = reference_bytes(source.references) + source.picture_latents.nbytes
    if quota is not None:
        make_room(root, quota, needed_bytes)
    layers = list(source.references[0].keys)
    with CacheWriter(root, identity, branches=(), timesteps=(), layers=layers, expected_bytes=needed_bytes) as writer:
        for number, one in enumerate(source.references):
            writer.write(reference_name(number), one.tensors())
        writer.write("source", {"latents": source.picture_latents})


def reference_bytes(references: Sequence[KeptReference]) -> int:
    """Of the keys and values of all of them."""
    return sum(one.nbytes for one in references)
