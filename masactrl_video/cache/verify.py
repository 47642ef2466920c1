"""Proof that an entry on disk is what its index says, before anything of it is used."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from safetensors import SafetensorError, safe_open

from masactrl_video.cache.index import (
    CHECKSUM_NAME,
    INDEX_NAME,
    CacheDamaged,
    CacheIndex,
    FileEntry,
    TensorEntry,
    checksum_text,
    parse_index,
    read_index_bytes,
)
from masactrl_video.errors import counted
from masactrl_video.storage.fingerprint import hash_file


def check_entry(folder: Path) -> CacheIndex:
    """Check index, list of files, sizes, checksums and tensors of an entry.

    Raises:
        CacheDamaged: the first difference found, with the file's name.
    """
    data = read_index_bytes(folder)
    index = parse_index(folder, data)
    try:
        _check_listing(folder, index)
        with ThreadPoolExecutor() as pool:  # hashing releases the GIL
            for _ in pool.map(lambda name: _check_file(folder, name, index.files[name]), sorted(index.files)):
                pass
        if (folder / CHECKSUM_NAME).read_bytes() != checksum_text(data).encode():
            raise CacheDamaged(folder, f"{INDEX_NAME} has another checksum than in {CHECKSUM_NAME}")
    except OSError as error:
        raise CacheDamaged(folder, f"it cannot be read: {error}") from error
    return index


def describe_file(path: Path) -> FileEntry:
    """Size, checksum and tensors of a safetensors file that was just written."""
    return FileEntry(bytes=path.stat().st_size, sha256=hash_file(path), tensors=_tensors(path))


def _check_listing(folder: Path, index: CacheIndex) -> None:
    found = {path.name for path in folder.iterdir()}
    listed = {INDEX_NAME, CHECKSUM_NAME, *index.files}
    for name in sorted(listed - found):
        raise CacheDamaged(folder, f"{name} is missing")
    for name in sorted(found - listed):
        raise CacheDamaged(folder, f"{name!r} is not in its index")
    for name in sorted(found):
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise CacheDamaged(folder, f"{name} is not an ordinary file")


def _check_file(folder: Path, name: str, listed: FileEntry) -> None:
    path = folder / name
    size_bytes = path.stat().st_size
    if size_bytes != listed.bytes:
        raise CacheDamaged(folder, f"{name} has {counted(size_bytes, 'byte')} instead of {listed.bytes}")
    if hash_file(path) != listed.sha256:
        raise CacheDamaged(folder, f"{name} has another checksum than in its index")
    try:
        found = _tensors(path)
    except SafetensorError as error:
        raise CacheDamaged(folder, f"{name} is not a safetensors file: {error}") from error
    for tensor in sorted(found.keys() | listed.tensors.keys()):
        if found.get(tensor) != listed.tensors.get(tensor):
            raise CacheDamaged(folder, f"{name} holds tensor {tensor!r} otherwise than its index says")


def _tensors(path: Path) -> dict[str, TensorEntry]:
    with safe_open(path, framework="numpy") as file:  # reads the header only
        slices = {name: file.get_slice(name) for name in sorted(file.keys())}
        return {name: TensorEntry(dtype=s.get_dtype(), shape=tuple(s.get_shape())) for name, s in slices.items()}
