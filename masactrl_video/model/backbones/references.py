"""What a picture offers as a reference, where that depends on no step, no prompt and no size: kept once and for all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from masactrl_video.errors import UserError

_FORMAT = "flux2-klein-kv-reference-1"


@dataclass(frozen=True)
class KeptReference:
    """What one reference picture offers in each layer."""

    keys: Mapping[str, torch.Tensor]
    """By layer: (tokens, heads, head_dim), with their places."""
    values: Mapping[str, torch.Tensor]
    place: int
    """1 for the first of several references: where its keys stand."""
    transformer: str
    """Hash of the network that made them."""

    @property
    def tokens(self) -> int:
        """Of the picture."""
        return next(iter(self.keys.values())).shape[0]

    @property
    def nbytes(self) -> int:
        """Of all keys and values."""
        return sum(tensor.nbytes for tensor in (*self.keys.values(), *self.values.values()))

    def tensors(self) -> dict[str, torch.Tensor]:
        """All keys and values by the names that they have in a file."""
        tensors = {f"{name}.key": key.contiguous().cpu() for name, key in self.keys.items()}
        return tensors | {f"{name}.value": value.contiguous().cpu() for name, value in self.values.items()}

    def to_bytes(self) -> bytes:
        """As one safetensors file."""
        said = {"format": _FORMAT, "place": self.place, "transformer": self.transformer}
        data: bytes = save(self.tensors(), metadata={"reference": json.dumps(said)})
        return data

    def save(self, path: Path) -> None:
        """Write it as one `.safetensors` file."""
        path.write_bytes(self.to_bytes())

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, torch.Tensor], place: int, transformer: str) -> KeptReference:
        """What `tensors` gave."""
        parts = [
            {name.removesuffix(end): tensor for name, tensor in tensors.items() if name.endswith(end)}
            for end in (".key", ".value")
        ]
        return cls(parts[0], parts[1], place, transformer)

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
        return cls._made_of(tensors, said, str(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> KeptReference:
        """What `to_bytes` gave; `where` it comes from is for messages.

        Raises:
            UserError: it is no reference.
        """
        try:
            length = int.from_bytes(data[:8], "little")
            header: dict[str, Any] = json.loads(data[8 : 8 + length])
            said = json.loads(header.get("__metadata__", {}).get("reference", "{}"))
            return cls._made_of(load(data), said, where)
        except (SafetensorError, ValueError, AttributeError) as error:
            raise UserError(f"reference {where!r}: cannot be read ({error})") from error

    @classmethod
    def _made_of(cls, tensors: Mapping[str, torch.Tensor], said: Any, where: str) -> KeptReference:
        if not isinstance(said, dict) or said.get("format") != _FORMAT:
            raise UserError(f"reference {where!r}: holds no reference; give a file of KeptReference.save")
        return cls.of_tensors(tensors, int(said["place"]), str(said["transformer"]))


@dataclass(frozen=True)
class JoinedReferences:
    """Several references, ready for a network: what stands beside the tokens of every picture that it makes."""

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()
    """Keys and values (1, tokens, heads, head_dim) of each layer, in forward order."""
    pictures: int = 0
    """How many there are: the next reference picture stands behind them."""
