"""Where everything that belongs to one output video lies, and whether a run may write there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from masactrl_video.encode.container import container_for
from masactrl_video.errors import UserError
from masactrl_video.settings.presets import read_config
from masactrl_video.settings.settings import Settings
from masactrl_video.video.replace import replacing


@dataclass(frozen=True)
class Outputs:
    """Paths of a run: the video, and beside it a folder of the same name with everything else."""

    video: Path

    @property
    def folder(self) -> Path:
        """`out/` for `out.mp4`."""
        return self.video.with_suffix("")

    @property
    def config(self) -> Path:
        """The resolved settings; `--config` with this file reproduces the frames."""
        return self.folder / "config.yaml"

    @property
    def report(self) -> Path:
        """Figures of the run."""
        return self.folder / "report.json"

    @property
    def source(self) -> Path:
        """The source image."""
        return self.folder / "source.png"

    @property
    def side_by_side(self) -> Path:
        """Clip, guidance and result in one video."""
        return self.folder / f"side-by-side{self.video.suffix}"

    def guidance(self, name: str) -> Path:
        """Folder with the guidance pictures of one control."""
        return self.folder / f"guidance-{name}"

    def guidance_video(self, name: str) -> Path:
        """The same as a video."""
        return self.folder / f"guidance-{name}{self.video.suffix}"

    def frames(self, count: int) -> list[Path]:
        """Picture of each frame."""
        return [self.folder / "frames" / f"{index:06d}.png" for index in range(count)]

    def masks(self, count: int) -> list[Path]:
        """Mask of each frame, where they are saved."""
        return [self.folder / "masks" / f"{index:06d}.png" for index in range(count)]


def check_free(outputs: Outputs, settings: Settings, overwrite: bool) -> None:
    """See that a run may write there, before anything slow begins; nothing is written.

    Raises:
        UserError: an unknown suffix, the video exists, or the folder holds something else than this run began.
    """
    container_for(outputs.video)
    advice = "give another output, or --overwrite to begin anew"
    if outputs.video.exists() and not overwrite:
        raise UserError(f"{outputs.video} exists; {advice}")
    if not outputs.folder.exists() or (outputs.folder.is_dir() and not any(outputs.folder.iterdir())):
        return
    if not _is_ours(outputs.config):
        raise UserError(f"{outputs.folder} exists and was not made by this command; give another output")
    changed = [] if overwrite else _changed(read_config(outputs.config), settings.as_yaml_data())
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise UserError(f"{outputs.folder} is from a run with other settings: {changed[0]}{more}; {advice}")


def _is_ours(config: Path) -> bool:
    return config.is_file() and config.read_bytes().startswith(_HEADER.partition(";")[0].encode())


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs in the settings that determine the frames, for the user to read."""
    return [
        f"{name} was {before.get(name)!r}, now {now[name]!r}"
        for name in now
        if name not in _NOT_IN_FRAMES and before.get(name) != now[name]
    ]


_NOT_IN_FRAMES = ("chunk_frames", "cache_dir", "characters_dir", "audio", "codec", "pix_fmt", "crf", "side_by_side")
"""Settings that change no pixel: an interrupted run may go on with others."""


@contextmanager
def claimed(outputs: Outputs, settings: Settings, overwrite: bool) -> Iterator[None]:
    """Make the output's folder ours: new, or that of an interrupted run with the same settings.

    A folder that is new and would stay without a frame because the input cannot be used is removed again.

    Raises:
        UserError: see `check_free`.
    """
    check_free(outputs, settings, overwrite)
    is_new = not outputs.folder.exists()
    if overwrite:
        _clear(outputs, settings)
    _begin(outputs, settings)
    try:
        yield
    except UserError:
        if is_new and not any((outputs.folder / "frames").iterdir()):
            shutil.rmtree(outputs.folder)
        raise


def _clear(outputs: Outputs, settings: Settings) -> None:
    """Remove an earlier run's files; guidance that may be reused stays, and so does whatever is not ours."""
    reusable = {outputs.guidance(kind) for kind in settings.kinds}
    outputs.video.unlink(missing_ok=True)
    for pattern in _MADE:
        for path in set(outputs.folder.glob(pattern)) - reusable:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


_MADE = ("frames", "masks", "target-masks", "guidance-*", "side-by-side.*", "source.png", "report.json")
_HEADER = (
    "# Resolved settings; `masactrl-video render --config THIS_FILE -o OTHER.mp4` makes the same frames.\n"
    "# Paths are as they were given: run it from the same folder.\n"
)


def _begin(outputs: Outputs, settings: Settings) -> None:
    text = _HEADER + yaml.safe_dump(settings.as_yaml_data(), sort_keys=False, allow_unicode=True)
    try:
        for folder in (outputs.folder, outputs.folder / "frames"):
            folder.mkdir(parents=True, exist_ok=True)
        with replacing(outputs.config) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{outputs.folder}: cannot be written ({error.strerror}); choose another output") from error
