"""Fingerprints: of settings, of tensors, and of a model's weights."""

from __future__ import annotations

import ctypes
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, TypeAdapter

from masactrl_video.storage.hash_memory import remembered, state_of

if TYPE_CHECKING:  # tensors' bytes are hashed where they lie, so that listing the cache need not wait for torch
    import torch

FINGERPRINT_LENGTH = 32
"""Hexadecimal digits in a fingerprint: 128 bits."""

LARGE_BYTES = 1 << 26
"""From here on hashing takes longer than looking whether it was done before."""

_SMALL_TENSOR_BYTES, _SAMPLES = 1 << 20, 4096
_TASK_TENSORS = 16
"""For a thread to hash: most tensors are hashed faster than they are handed over."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
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
    """SHA-256 (64 hexadecimal digits) over all parameters and buffers, each with its name, in the order of names.

    That of a large network which diffusers has read from files is remembered: as long as they are the same, and so are
    the small tensors, and a sample of each large one, it is not computed again.
    """
    tensors = dict(sorted([*module.named_parameters(), *module.named_buffers()]))
    files = _weight_files(module) if sum(map(_tensor_bytes, tensors.values())) >= LARGE_BYTES else []
    state = state_of(files) if files else None
    if state is None:
        return _hash_tensors(tensors, hash_tensor)
    key = fingerprint({"files": state, "sample": _hash_tensors(tensors, _hash_sample)})
    return remembered(key, lambda: _hash_tensors(tensors, hash_tensor))


def _hash_tensors(tensors: Mapping[str, torch.Tensor], hash_one: Callable[[torch.Tensor], str]) -> str:
    named = list(tensors.items())
    batches = [named[first : first + _TASK_TENSORS] for first in range(0, len(named), _TASK_TENSORS)]
    total = hashlib.sha256()
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        for lines in pool.map(lambda batch: "".join(f"{name} {hash_one(one)}\n" for name, one in batch), batches):
            total.update(lines.encode())
    return total.hexdigest()


def _hash_sample(tensor: torch.Tensor) -> str:
    """Of a tensor that is small, as that of a LoRA is, all; else some thousand values from all over it."""
    if _tensor_bytes(tensor) <= _SMALL_TENSOR_BYTES:
        return hash_tensor(tensor)
    sample = tensor.detach().reshape(-1)[:: max(1, tensor.numel() // _SAMPLES)]
    return f"{tuple(tensor.shape)} {hash_tensor(sample)}"


def _tensor_bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _weight_files(module: torch.nn.Module) -> list[Path]:
    """All that a network may have been read from, as its configuration says."""
    config = getattr(module, "config", None)
    name = config.get("_name_or_path") if isinstance(config, Mapping) else None
    return sorted(Path(name).glob("*.safetensors")) if name else []


def files_sha256(files: Iterable[Path]) -> str:
    """SHA-256 (hex) over the SHA-256 of each file, in the order given; those of large files are remembered."""
    return hash_bytes(b"".join(bytes.fromhex(_file_sha256(path)) for path in files))


def _file_sha256(path: Path) -> str:
    """`hash_file`, unless that is known: by the name that the hub's cache gives a file, or from before."""
    real = path.resolve()
    if real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
        return real.name
    state = state_of([real]) if real.stat().st_size >= LARGE_BYTES else None
    return hash_file(real) if state is None else remembered(fingerprint({"file": state}), lambda: hash_file(real))
