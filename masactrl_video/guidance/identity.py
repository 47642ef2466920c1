"""What a set of weights is called in a reuse key: by content, not by path."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def files_sha256(files: Iterable[Path]) -> str:
    """SHA-256 (hex) over the contents of the files, in the order given."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1024**2):
                digest.update(block)
    return digest.hexdigest()
