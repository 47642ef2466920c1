"""Fingerprints: of settings, of tensors, and of a model's weights."""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, TypeAdapter

if TYPE_CHECKING:  # tensors' bytes are hashed where they lie, so that listing the cache need not wait for torch
    import torch

FINGERPRINT_LENGTH = 32
"""Hexadecimal digits in a fingerprint: 128 bits."""

_PIECE_BYTES = 1 << 26
_JSON = TypeAdapter(dict[str, JsonValue])


def fingerprint(determined_by: Mapping[str, JsonValue]) -> str:
    """Hash of everything that determines a content: 32 hexadecimal digits of SHA-256 over canonical JSON.

    The order of keys does not matter; `1` and `1.0` differ.

    Raises:
        ValueError: a value is not JSON (a tuple is not either), or a number is NaN or infinite.
    """
    values = _JSON.validate_python(dict(determined_by))
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def hash_bytes(data: bytes) -> str:
    """SHA-256 (64 hexadecimal digits) of bytes."""
    return hashlib.sha256(data).hexdigest()


def running_hash(data: bytes) -> hashlib._Hash:
    """SHA-256 that begins with some bytes and takes more."""
    return hashlib.sha256(data)


def hash_json(content: object) -> str:
    """SHA-256 (64 hexadecimal digits) of JSON; the order of keys does not matter, and names may hold any letter."""
    return hash_bytes(json.dumps(content, sort_keys=True).encode())


def hash_file(path: Path) -> str:
    """SHA-256 (64 hexadecimal digits) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tensor(tensor: torch.Tensor) -> str:
    """SHA-256 (64 hexadecimal digits) over dtype, shape and values in row-major order; any dtype, any device.

    A contiguous tensor on a GPU passes through the host in pieces of 64 MiB.

    Raises:
        NotImplementedError: the tensor is on the meta device and has no values.
    """
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
    for piece in _host_pieces(tensor):
        digest.update(piece)
    return digest.hexdigest()


def _host_pieces(tensor: torch.Tensor) -> Iterator[ctypes.Array[ctypes.c_char]]:
    flat = tensor.detach().contiguous().reshape(-1)
    length = _PIECE_BYTES // flat.element_size()
    for start in range(0, flat.numel(), length):
        host = flat[start : start + length].cpu()
        # Through the address, because bfloat16 has no NumPy dtype; `host` lives until the next piece is asked for.
        yield (ctypes.c_char * host.nbytes).from_address(host.data_ptr())


def hash_module(module: torch.nn.Module) -> str:
    """SHA-256 (64 hexadecimal digits) over all parameters and buffers, each with its name, in the order of names."""
    tensors = dict(sorted([*module.named_parameters(), *module.named_buffers()]))
    total = hashlib.sha256()
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        for name, digest in zip(tensors, pool.map(hash_tensor, tensors.values()), strict=True):
            total.update(f"{name} {digest}\n".encode())
    return total.hexdigest()


def files_sha256(files: Iterable[Path]) -> str:
    """SHA-256 (hex) over the SHA-256 of each file, in the order given."""
    return hash_bytes(b"".join(bytes.fromhex(hash_file(path)) for path in files))
