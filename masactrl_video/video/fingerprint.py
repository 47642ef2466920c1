"""A name for the content of a clip, under which whatever was made from it can be found again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from masactrl_video.video.frame import Selection
from masactrl_video.video.image_folder import list_images
from masactrl_video.video.local_file import local_path


def fingerprint_clip(path: Path, selection: Selection | None = None, video_stream: int | None = None) -> str:
    """SHA-256 (hex) of a video file's bytes, or of a folder's images in order, with what is taken of it.

    File names, dates and the frame rate of a folder do not enter: they change no pixel.

    Raises:
        UserError: there is no such file or folder, or the folder holds no images.
    """
    path = local_path(path)
    files = list_images(path) if path.is_dir() else [path]
    content: dict[str, object] = {
        "files": [_sha256(file) for file in files],
        "selection": asdict(selection or Selection()),
    }
    if video_stream is not None:  # left out otherwise, so that what was made before there was a choice is found
        content["video_stream"] = video_stream
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
