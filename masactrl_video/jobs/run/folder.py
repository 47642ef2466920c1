"""Where everything that belongs to one output video lies, and whether a run may write there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from masactrl_video.encode.container import container_for
from masactrl_video.errors import UserError
from masactrl_video.jobs.run.log_file import LOG_NAME
from masactrl_video.jobs.run.report import REPORT_NAME
from masactrl_video.jobs.run.run import removed_if_bare
from masactrl_video.settings.fields import settings_where
from masactrl_video.settings.presets import read_config
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings
from masactrl_video.storage.lock import FileLock, lock_file, read_note, wait_until_free
from masactrl_video.storage.only_writer import LOCK_WITHIN, WRITES_THE_SAME, lock_path, only_writer
from masactrl_video.storage.replace import is_partial, replacing
from masactrl_video.storage.staging import is_staging
from masactrl_video.storage.write_errors import check_can_be_made, check_writable, storing_in


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
        return self.folder / REPORT_NAME

    @property
    def log(self) -> Path:
        """What happened, in each run that wrote there."""
        return self.folder / LOG_NAME

    @property
    def source(self) -> Path:
        """The source image."""
        return self.folder / "source.png"

    def source_at(self, frame: int) -> Path:
        """The image of the source that holds from a frame on."""
        return self.source if frame == 0 else self.folder / f"source-{frame:06d}.png"

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


def check_free(outputs: Outputs, settings: Settings, overwrite: bool, restart: bool = False) -> bool:
    """See that a run may write there, before anything slow begins; nothing stays of what is tried.

    Returns:
        Whether it begins anew and removes what is there; otherwise the folder is free, or the run goes on there.

    Raises:
        UserError: an unknown suffix, the video exists, or the folder holds something else than this run began.
        StorageError: the folder may not be written.
    """
    container_for(outputs.video)
    check_can_be_made(outputs.video, folder=outputs.folder)
    video_exists, state = outputs.video.exists(), read_state(outputs.folder)
    if video_exists and not overwrite:
        also = "; --restart alone discards an unfinished run only" if restart else ""
        raise UserError(f"{outputs.video} exists; give another --output, or --overwrite to replace it{also}")
    if outputs.folder.is_dir():
        check_writable(outputs.config)
    if not outputs.folder.exists() or (outputs.folder.is_dir() and _holds_nothing(outputs.folder)):
        return False
    if not _is_ours(outputs.config):
        raise UserError(f"{outputs.folder} exists and was not made by this command; give another output")
    if restart or state == DISCARDING or (video_exists and state is None):
        return True
    changed = changed_settings(read_config(outputs.config), settings.as_yaml_data())
    if changed:
        raise UserError(
            f"{outputs.folder} is from a run with other settings: {'; '.join(changed)}; "
            "--restart discards that run and begins anew, another --output leaves it as it is"
        )
    return False


def _holds_nothing(folder: Path) -> bool:
    """Whether a run that was stopped in its first moments is all that was ever there."""
    return all(path.name in (MARK_NAME, LOCK_WITHIN) or is_partial(path.name) for path in folder.iterdir())


def check_folder(folder: Path, settings: Settings, overwrite: bool) -> None:
    """See that a run of still pictures may write into a folder; nothing stays of what is tried.

    Raises:
        UserError: it holds something else than a run with these settings began.
        StorageError: it may not be written.
    """
    config = folder / "config.yaml"
    check_can_be_made(folder=folder)
    if folder.is_dir():
        check_writable(config)
    if not folder.exists() or (folder.is_dir() and _holds_nothing(folder)):
        return
    if not _is_ours(config):
        raise UserError(f"{folder} exists and was not made by this command; give another output")
    changed = [] if overwrite else changed_settings(read_config(config), settings.as_yaml_data())
    if changed:
        raise UserError(
            f"{folder} is from a run with other settings: {'; '.join(changed)}; give another output, or --overwrite "
            "to begin anew"
        )


def is_run_folder(folder: Path) -> bool:
    """Whether a folder is that of a run of a clip or of still pictures."""
    return _is_ours(folder / "config.yaml")


def _is_ours(config: Path) -> bool:
    return config.is_file() and config.read_bytes().startswith(_HEADER.partition(";")[0].encode())


def is_made(outputs: Outputs, settings: Settings) -> bool:
    """Whether the output is finished, and by the same settings."""
    if not outputs.video.exists() or read_state(outputs.folder) is not None or not _is_ours(outputs.config):
        return False
    return not changed_settings(read_config(outputs.config), settings.as_yaml_data())


def finish_whole(outputs: Outputs, settings: Settings) -> bool:
    """End a run with these settings that was killed after its video had its place; returns whether there was one.

    The report is there before the video, and the settings before the report: a video that is newer than the settings
    is no earlier one that was to be replaced.

    Raises:
        UserError: the output's suffix is that of no video; an empty name has none.
    """
    container_for(outputs.video)
    if read_state(outputs.folder) != RENDERING or not (outputs.video.exists() and outputs.report.exists()):
        return False
    if outputs.video.stat().st_mtime_ns <= outputs.config.stat().st_mtime_ns:
        return False
    if changed_settings(read_config(outputs.config), settings.as_yaml_data()):
        return False
    with storing_in(outputs.folder), marked(outputs.folder):
        _remove_leftovers(outputs)
    return True


@contextmanager
def claimed(outputs: Outputs, settings: Settings, overwrite: bool, restart: bool = False) -> Iterator[bool]:
    """Make the output's folder ours: new, or that of an interrupted run with the same settings.

    Waits for another process that writes there, and yields whether that one has made the same output meanwhile.
    A folder that is new and would stay without a frame because the input cannot be used is removed again.

    Raises:
        UserError: see `check_free`.
        StorageError: what is written cannot be; finished frames stay.
    """
    check_free(outputs, settings, overwrite, restart)
    is_new = not outputs.folder.exists()
    with storing_in(outputs.folder):
        outputs.folder.mkdir(parents=True, exist_ok=True)
    with storing_in(outputs.folder), marked(outputs.folder) as mark:
        if mark.waited and is_made(outputs, settings):
            yield True
            return
        with removed_if_bare(outputs.folder, "frames/*", is_new=is_new):
            if check_free(outputs, settings, overwrite, restart):
                mark.note(state=DISCARDING)
                _clear(outputs, settings)
            _remove_leftovers(outputs)
            begin_folder(outputs.folder, _HEADER, settings, "frames")
            mark.note(state=RENDERING)
            yield False


def _clear(outputs: Outputs, settings: Settings) -> None:
    """Remove an earlier run's files; guidance that may be reused stays, and so does whatever is not ours.

    A finished video stays until the new one takes its place.
    """
    reusable = {outputs.guidance(kind) for kind in settings.kinds}
    for pattern in _MADE:
        for path in set(outputs.folder.glob(pattern)) - reusable:
            _remove(path)


def _remove_leftovers(outputs: Outputs) -> None:
    """Remove what a process that died has left half-written; no other process writes there now."""
    for folder in (outputs.folder, outputs.folder / "frames", outputs.folder / "masks"):
        for path in folder.glob(".*"):
            if is_partial(path.name) or is_staging(path.name):
                _remove(path)
    for path in outputs.video.parent.glob(".*"):
        if is_partial(path.name, of=outputs.video):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_MADE = (
    "frames",
    "masks",
    "target-masks",
    "clip-frames",
    "whose",
    "noise-places",
    "guidance-*",
    "side-by-side.*",
    "source.png",
    "source-*.png",
    REPORT_NAME,
)
_HEADER = (
    "# Resolved settings; `masactrl-video render --config THIS_FILE -o OTHER.mp4` makes the same frames.\n"
    "# Paths are as they were given: run it from the same folder.\n"
)


def begin_folder(folder: Path, header: str, settings: Settings, *within: str) -> None:
    """Make a run's folder, and others within it, and write the settings into it."""
    text = header + yaml.safe_dump(settings.as_yaml_data(), sort_keys=False, allow_unicode=True)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "config.yaml") as partial:  # first: by it another run knows the folder as ours
        partial.write_text(text, encoding="utf-8")
    for name in within:
        (folder / name).mkdir(exist_ok=True)


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`name: old -> new` for every setting that determines the frames and is not as it was.

    An interrupted run may go on with other values of the rest: they change no pixel.
    """
    frames = settings_where(StillSettings, lambda about: about.changes in ("source", "frames"))
    if before.get("neighbour") and now.get("neighbour"):
        frames.append("chunk_frames")  # the first frame of a chunk has no neighbour
    return [line for name in now if name in frames for line in _changed(name, before.get(name), now.get(name))]


def _changed(name: str, before: Any, now: Any) -> list[str]:
    if before == now:
        return []
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = dict.fromkeys([*before, *now])
        return [line for key in keys for line in _changed(f"{name}.{key}", before.get(key), now.get(key))]
    return [f"{name}: {_text(before)} -> {_text(now)}"]


def _text(value: Any) -> str:
    return "not set" if value is None else repr(value)


MARK_NAME = ".unfinished"

DISCARDING = "discarding"
"""What an earlier run has left is being removed, as the user asked."""

RENDERING = "rendering"
"""The folder holds what the settings in it imply, as far as it is there."""


def read_state(folder: Path) -> str | None:
    """How far an unfinished run is, alive or not; None where there is none."""
    state = read_note(folder / MARK_NAME).get("state")
    return state if state in (DISCARDING, RENDERING) else None


def wait_for_another(folder: Path) -> bool:
    """Wait while another process writes into a folder, by whatever command; returns whether there was one."""
    places = (lock_path(folder.absolute()), folder / MARK_NAME)
    return any(wait_until_free(place, WRITES_THE_SAME) for place in places)


@contextmanager
def marked(folder: Path) -> Iterator[FileLock]:
    """The mark, locked; waits for another process that has it. It goes when the run ends well, or has not begun.

    No other command writes into the folder meanwhile either.
    """
    with only_writer(folder) as lock:
        mark = lock_file(folder / MARK_NAME, WRITES_THE_SAME)
        assert mark is not None
        mark.waited |= lock.waited
        try:
            yield mark
            mark.close(remove=True)
        finally:
            mark.close(remove=read_state(folder) is None)
