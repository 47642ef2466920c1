"""Tensors of a file of the cache, proved to be what was written."""

import json
from io import BufferedReader
from pathlib import Path

import torch

from masactrl_video.cache.index import CacheDamaged, FileEntry
from masactrl_video.storage.fingerprint import running_hash

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "I64": torch.int64,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""safetensors' names of the number formats that the cache holds."""

_PIECE_BYTES = 1 << 20
"""Hashed while it is still in the processor's cache."""


def read_tensors(path: Path, listed: FileEntry, *, pinned: bool = False) -> dict[str, torch.Tensor]:
    """Read a safetensors file once, into memory of our own, and see that every byte is the listed one.

    A memory map would save that copy, but what a map shows can change after the check, and where a file is cut short or
    a disk fails under it, the process dies (SIGBUS) instead of raising. The tensors are views of one buffer.

    Args:
        pinned: into page-locked memory, from which a GPU copies asynchronously.

    Raises:
        CacheDamaged: the file cannot be read, or has other bytes.
    """
    try:
        with path.open("rb") as file:
            header, body, checksum = _read(file, listed.bytes, pinned)
    except OSError as error:
        raise CacheDamaged(path.parent, f"{path.name} changed while in use: {error}") from error
    if checksum != listed.sha256:
        raise CacheDamaged(path.parent, f"{path.name} changed while in use: it has another checksum")
    described = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
    return {
        name: _tensor(body, entry["data_offsets"], _DTYPES[entry["dtype"]], entry["shape"])
        for name, entry in described.items()
    }


def _read(file: BufferedReader, size_bytes: int, pinned: bool) -> tuple[bytes, torch.Tensor, str]:
    """Header, body (bytes,) and checksum of a safetensors file: 8 bytes of length, a JSON header, the tensors."""
    length = file.read(8)
    header = file.read(min(int.from_bytes(length, "little"), size_bytes))  # of a damaged file it may be any number
    digest = running_hash(length + header)
    body = torch.empty(max(size_bytes - len(length) - len(header), 0), dtype=torch.uint8, pin_memory=pinned)
    rest = body.numpy().data
    while rest and (count := file.readinto(rest[:_PIECE_BYTES])):
        digest.update(rest[:count])  # releases the GIL, as reading does
        rest = rest[count:]
    digest.update(bytes(rest) + file.read(1))  # too short or too long is another checksum
    return header, body, digest.hexdigest()


def _tensor(body: torch.Tensor, offsets: tuple[int, int], dtype: torch.dtype, shape: list[int]) -> torch.Tensor:
    part = body[offsets[0] : offsets[1]]
    if offsets[0] % dtype.itemsize:
        part = part.clone()
    return part.view(dtype).reshape(shape)
