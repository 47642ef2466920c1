"""What a set of weights is called in a reuse key: by content, not by path."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def files_sha256(files: Iterable[Path]) -> str:
    """SHA-256 (hex) over the SHA-256 of each file, in the order given."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
