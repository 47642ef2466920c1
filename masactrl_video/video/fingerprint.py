"""A name for the content of a clip, under which whatever was made from it can be found again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from masactrl_video.storage.fingerprint import hash_file, hash_json
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
        "files": [hash_file(file) for file in files],
        "selection": asdict(selection or Selection()),
    }
    if video_stream is not None:  # left out otherwise, so that what was made before there was a choice is found
        content["video_stream"] = video_stream
    return hash_json(content)
