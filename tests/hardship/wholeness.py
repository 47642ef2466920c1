"""What must hold of a run's folder after it was killed at any moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from video.made_clips import decoded_hashes

from masactrl_video.cache.index import is_entry_id
from masactrl_video.cache.verify import check_entry
from masactrl_video.video.png import whole_png


def check_whole(folder: Path, world: Any) -> None:
    """Whatever has its own name is whole."""
    out = folder / "out"
    for path in out.rglob("*.png"):
        if not any(part.startswith(".") for part in path.relative_to(out).parts):
            whole_png(path)
    for path in (out / "frames").glob("[0-9]*.png"):
        assert path.read_bytes() == world.frames[path.name]
    for name in ("out.mp4", "out/side-by-side.mp4", "out/guidance-canny.mp4"):
        if (folder / name).exists():
            assert decoded_hashes(folder / name) == decoded_hashes(world.reference / name)
    for entry in (folder / "cache").glob("*"):
        if is_entry_id(entry.name):
            check_entry(entry)


def finished_batches(folder: Path) -> dict[str, int]:
    """Name → inode of the frames whose whole batch of two is there."""
    frames = {path.name: path.stat().st_ino for path in (folder / "out" / "frames").glob("[0-9]*.png")}
    pairs = [(f"{first:06d}.png", f"{first + 1:06d}.png") for first in range(0, 100, 2)]
    return {name: frames[name] for pair in pairs if all(name in frames for name in pair) for name in pair}
