"""Where everything that belongs to one output video lies, and whether a run may write there."""

from __future__ import annotations

import logging
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

logger = logging.getLogger(__name__)


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


@contextmanager
def claimed(outputs: Outputs, settings: Settings, overwrite: bool) -> Iterator[None]:
    """Make the output's folder ours: new, or that of an interrupted run with the same settings.

    A folder that is new and would stay without a frame because the input cannot be used is removed again.

    Raises:
        UserError: the video exists, or the folder holds something else, and `overwrite` is off.
    """
    is_new = not outputs.folder.exists()
    _claim(outputs, settings, overwrite)
    try:
        yield
    except UserError:
        if is_new and not any((outputs.folder / "frames").iterdir()):
            shutil.rmtree(outputs.folder)
        raise


def _claim(outputs: Outputs, settings: Settings, overwrite: bool) -> None:
    container_for(outputs.video)  # an unknown suffix is found now, not after hours
    wanted = settings.as_yaml_data()
    if overwrite:
        shutil.rmtree(outputs.folder / "frames", ignore_errors=True)
    else:
        _refuse_existing(outputs, wanted)
    try:
        for folder in (outputs.folder, outputs.folder / "frames"):
            folder.mkdir(parents=True, exist_ok=True)
        with replacing(outputs.config) as partial:
            partial.write_text(_HEADER + yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{outputs.folder}: cannot be written ({error.strerror}); choose another output") from error


_HEADER = "# Resolved settings; `masactrl-video render --config THIS_FILE -o OTHER.mp4` makes the same frames.\n"


def _refuse_existing(outputs: Outputs, wanted: dict[str, Any]) -> None:
    advice = "give another output, or --overwrite to begin anew"
    if outputs.video.exists():
        raise UserError(f"{outputs.video} exists; {advice}")
    if not outputs.folder.exists() or not any(outputs.folder.iterdir()):
        return
    if not outputs.config.is_file():
        raise UserError(f"{outputs.folder} exists and was not made by an interrupted run; {advice}")
    before = read_config(outputs.config)
    changed = [name for name in wanted if before.get(name) != wanted[name]]
    if changed:
        name = changed[0]
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise UserError(
            f"{outputs.folder} is from a run with other settings: {name} was {before.get(name)!r}, "
            f"now {wanted[name]!r}{more}; {advice}"
        )
    logger.info("%s: an interrupted run with the same settings goes on", outputs.folder)
