"""The index of a cache entry: what it holds, where it came from, and the checksums that prove it."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    NonNegativeInt,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from masactrl_video.errors import UserError
from masactrl_video.storage.fingerprint import FINGERPRINT_LENGTH, fingerprint, hash_bytes, hash_json

FORMAT_VERSION = 2
INDEX_NAME = "index.json"
CHECKSUM_NAME = "index.sha256"
"""The index's own checksum, as `sha256sum -c` takes it."""

REFERENCES = "references"
"""In what determines an entry that has references instead of steps: place and network of each."""

MAX_INDEX_BYTES = 16 * 2**20  # SDXL with all 70 layers, two branches and 50 steps comes to 2 MB

_ENTRY_ID = re.compile(rf"[0-9a-f]{{{FINGERPRINT_LENGTH}}}")
_STEP_FILE = re.compile(r"step-(\d{4,})\.safetensors")

FileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\.safetensors$")]
"""No dots or separators before the ending: a name from an index never leaves its folder."""


class CacheDamaged(UserError):  # noqa: N818, a state of the entry
    """An entry of the cache that must not be used."""

    def __init__(self, folder: Path, what: str) -> None:
        self.name, self.what = folder.name, what
        super().__init__(
            f"cache entry {self.name} in {folder.parent} cannot be used: {what}; the next render that needs it"
            f" records it anew (`masactrl-video cache prune {self.name}` removes it)"
        )


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TensorEntry(_Record):
    """One tensor as the header of its safetensors file has it."""

    dtype: str
    """safetensors name: F32, F16, BF16, BOOL, U8, …"""
    shape: tuple[NonNegativeInt, ...]


class FileEntry(_Record):
    """One safetensors file of an entry."""

    bytes: NonNegativeInt
    sha256: str
    tensors: dict[str, TensorEntry]


class CacheIndex(_Record):
    """Content of `index.json`."""

    format_version: int
    fingerprint: str
    determined_by: dict[str, JsonValue]
    """Everything that determined the content, for people to read and compare."""
    created: AwareDatetime
    branches: tuple[str, ...]
    """Guidance branches that were recorded: ("shared",) or ("unconditional", "conditional")."""
    timesteps: tuple[FiniteFloat, ...]
    """The scheduler's timesteps, all of them, in denoising order."""
    steps: tuple[NonNegativeInt, ...]
    """Stored steps, rising: indices into `timesteps`."""
    layers: tuple[str, ...]
    files: dict[FileName, FileEntry] = Field(min_length=1)

    @property
    def content(self) -> str:
        """SHA-256 (64 hexadecimal digits) over the checksums of its files."""
        return hash_json({name: file.sha256 for name, file in self.files.items()})

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "CacheIndex":
        if self.fingerprint != fingerprint(self.determined_by):
            raise ValueError("`fingerprint` is not the one of `determined_by`")
        if self.steps != tuple(sorted(set(self.steps))) or any(step >= len(self.timesteps) for step in self.steps):
            raise ValueError(f"`steps` are not rising indices of the {len(self.timesteps)} timesteps")
        if {name for name in self.files if _STEP_FILE.fullmatch(name)} != {step_name(s) for s in self.steps}:
            raise ValueError("`files` are not those of `steps`")
        return self


def is_entry_id(name: str) -> bool:
    """Whether a name is a fingerprint; no other name is ever joined to the cache's folder."""
    return _ENTRY_ID.fullmatch(name) is not None


def step_name(step: int) -> str:
    """File of a denoising step, counted from 0."""
    return f"step-{step:04}.safetensors"


def read_index(folder: Path) -> CacheIndex:
    """Read and check `index.json` of an entry, without looking at the other files.

    Raises:
        CacheDamaged: it is missing, unreadable, larger than 16 MiB, of another version, or does not fit the schema.
    """
    return parse_index(folder, read_index_bytes(folder))


def checksum_text(index_bytes: bytes) -> str:
    """Content of `index.sha256`."""
    return f"{hash_bytes(index_bytes)}  {INDEX_NAME}\n"


def parse_index(folder: Path, data: bytes) -> CacheIndex:
    """The index of an entry from what `read_index_bytes` read; raises as `read_index` does."""
    try:
        raw = from_json(data, allow_inf_nan=False)
        version = raw.get("format_version") if isinstance(raw, dict) else None
        if version != FORMAT_VERSION:
            raise CacheDamaged(folder, f"{INDEX_NAME} has format version {version!r}, this program {FORMAT_VERSION}")
        index = CacheIndex.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(repr(part)[1:-1] if isinstance(part, str) else str(part) for part in first["loc"])
        raise CacheDamaged(folder, f"{INDEX_NAME} is wrong at {where or 'the top'}: {first['msg']}") from error
    except ValueError as error:
        raise CacheDamaged(folder, f"{INDEX_NAME} is not JSON: {error}") from error
    if index.fingerprint != folder.name:
        raise CacheDamaged(folder, f"{INDEX_NAME} belongs to entry {index.fingerprint}")
    return index


def read_index_bytes(folder: Path) -> bytes:
    """`index.json` as it is; raises CacheDamaged when it is missing, unreadable or larger than 16 MiB."""
    path = folder / INDEX_NAME
    try:
        if folder.is_symlink() or path.is_symlink() or not path.is_file():
            raise CacheDamaged(folder, f"{INDEX_NAME} is missing or not an ordinary file")
        with path.open("rb") as file:
            data = file.read(MAX_INDEX_BYTES + 1)
    except OSError as error:
        raise CacheDamaged(folder, f"{INDEX_NAME} cannot be read: {error.strerror}") from error
    if len(data) > MAX_INDEX_BYTES:
        raise CacheDamaged(folder, f"{INDEX_NAME} has more than {MAX_INDEX_BYTES} bytes")
    return data
