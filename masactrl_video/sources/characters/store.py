"""Saved characters on disk: a folder with a folder for each name, whole or not at all."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from masactrl_video.errors import UserError
from masactrl_video.settings.home import at_home
from masactrl_video.sources.characters.index import (
    INDEX_NAME,
    MAX_INDEX_BYTES,
    POSE_NAME,
    REFERENCE_NAME,
    TENSORS_NAME,
    CharacterDamaged,
    CharacterIndex,
    SavedFile,
    parse_index,
)
from masactrl_video.sources.characters.pose import parse_pose
from masactrl_video.storage.fingerprint import hash_bytes
from masactrl_video.storage.only_writer import only_writer, run_path
from masactrl_video.storage.staging import remove_whole, staged_folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ADVICE = "remove it with `masactrl-video source remove`, and make or import it anew"


@dataclass(frozen=True)
class Character:
    """A saved character whose every byte was checked."""

    folder: Path
    index: CharacterIndex

    def read(self, name: str) -> bytes:
        """One of its files."""
        return (self.folder / name).read_bytes()


def default_root() -> Path:
    """`$MASACTRL_VIDEO_CHARACTERS`, else `$XDG_DATA_HOME/masactrl-video/characters`, else below `~/.local/share`."""
    if own := os.environ.get("MASACTRL_VIDEO_CHARACTERS"):
        return Path(at_home(own))
    xdg = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (xdg if xdg.is_absolute() else Path.home() / ".local" / "share") / "masactrl-video" / "characters"


def folder_of(root: Path, name: str) -> Path:
    """Where a character lies or will lie; no other name is ever joined to the folder.

    Raises:
        UserError: a name with anything but letters, digits, - and _.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"character {name!r}: a name has letters, digits, - and _, at most 64, no dots or slashes")
    return root / name


def open_character(root: Path, name: str) -> Character:
    """A character, after checking every byte of it.

    Raises:
        UserError: there is none of that name.
        CharacterDamaged: anything is missing, extra, or other than its index says.
    """
    folder = _there(root, name)
    try:
        return Character(folder, _check(folder, name))
    except OSError as error:
        raise CharacterDamaged(folder, f"it cannot be read ({error.strerror}); {_ADVICE}") from error


def read_index(root: Path, name: str) -> CharacterIndex:
    """What is known of a character; its other files, which may be large, are not looked at.

    Raises:
        UserError: there is none of that name.
        CharacterDamaged: its index is missing or wrong.
    """
    folder = _there(root, name)
    try:
        return _read_index(folder, name)
    except OSError as error:
        raise CharacterDamaged(folder, f"it cannot be read ({error.strerror}); {_ADVICE}") from error


def _there(root: Path, name: str) -> Path:
    folder = folder_of(root, name)
    if not os.path.lexists(folder):
        names = ", ".join(character_names(root)) or "none yet; make one with `masactrl-video source make`"
        raise UserError(f"character {name!r}: there is none of that name in {root}; there are: {names}")
    return folder


def character_names(root: Path) -> list[str]:
    """Names of all saved characters, damaged ones too."""
    return sorted(path.name for path in root.iterdir() if _NAME.fullmatch(path.name)) if root.is_dir() else []


def check_vacant(root: Path, name: str, overwrite: bool) -> None:
    """See that a character may be saved under a name.

    Raises:
        UserError: a name that cannot be, or one that is taken.
    """
    if os.path.lexists(folder_of(root, name)) and not overwrite:
        raise UserError(f"character {name!r} exists in {root}; take another name, or --overwrite")


def save_character(root: Path, index: CharacterIndex, files: Mapping[str, bytes], overwrite: bool) -> Character:
    """Write a character; it appears whole under its name, or not at all.

    Args:
        index: its `files` are filled in here.

    Raises:
        UserError: the name is taken, or the folder cannot be written.
    """
    check_vacant(root, index.name, overwrite)
    with _writing(root), only_writer(folder_of(root, index.name)):
        check_vacant(root, index.name, overwrite)  # another process may have made it meanwhile
        return save_alone(root, index, files, overwrite)


def save_alone(root: Path, index: CharacterIndex, files: Mapping[str, bytes], overwrite: bool) -> Character:
    """`save_character` for whoever is the only writer of the character's folder."""
    place = folder_of(root, index.name)
    listed = {name: SavedFile(bytes=len(data), sha256=hash_bytes(data)) for name, data in files.items()}
    index = index.model_copy(update={"files": listed})
    with _writing(root), staged_folder(place, "replace" if overwrite else "refuse") as fresh:
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        (fresh / INDEX_NAME).write_text(index.model_dump_json(indent=1), encoding="utf-8")
        _check(fresh, index.name)
    return Character(place, index)


def remove_character(root: Path, name: str) -> None:
    """Remove a character, damaged or not; a link is removed, not what it points to.

    Raises:
        UserError: there is none of that name, or it cannot be removed.
    """
    folder = folder_of(root, name)
    if not os.path.lexists(folder):
        raise UserError(f"character {name!r}: there is none of that name in {root}")
    with _writing(root):
        shutil.rmtree(run_path(folder), ignore_errors=True)
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink()
            return
        remove_whole(folder)


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(
            f"cannot write the characters in {root} ({error.strerror}); mend that, or set MASACTRL_VIDEO_CHARACTERS"
        ) from error


def _read_index(folder: Path, name: str) -> CharacterIndex:
    path = folder / INDEX_NAME
    if folder.is_symlink() or path.is_symlink() or not path.is_file():
        raise CharacterDamaged(folder, f"{INDEX_NAME} is missing or not an ordinary file; {_ADVICE}")
    with path.open("rb") as file:
        index = parse_index(file.read(MAX_INDEX_BYTES + 1), folder)
    if index.name != name:
        raise CharacterDamaged(folder, f"{INDEX_NAME} belongs to character {index.name!r}; {_ADVICE}")
    return index


def _check(folder: Path, name: str) -> CharacterIndex:
    index = _read_index(folder, name)
    found = {entry.name for entry in folder.iterdir()}
    if odd := sorted(found ^ {INDEX_NAME, *index.files}):
        raise CharacterDamaged(folder, f"{odd[0]!r} is {'too much' if odd[0] in found else 'missing'}; {_ADVICE}")
    for entry, listed in index.files.items():
        file_path = folder / entry
        if file_path.is_symlink() or not file_path.is_file() or file_path.stat().st_size != listed.bytes:
            raise CharacterDamaged(folder, f"{entry} is not a file of {listed.bytes} bytes; {_ADVICE}")
        check_file(folder, entry, file_path.read_bytes(), listed)
    return index


def check_file(place: Path, name: str, data: bytes, listed: SavedFile) -> None:
    """See that a file is the listed one, and of its kind.

    Raises:
        CharacterDamaged: another checksum, or no PNG, safetensors or pose.
    """
    from safetensors import SafetensorError, deserialize  # reading names must stay quick

    if len(data) != listed.bytes or hash_bytes(data) != listed.sha256:
        raise CharacterDamaged(place, f"{name} has another checksum than in its index; {_ADVICE}")
    if name == POSE_NAME:
        parse_pose(data, place)
        return
    try:
        if name in (TENSORS_NAME, REFERENCE_NAME):
            deserialize(data)  # type: ignore[no-untyped-call]
            return
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            picture.load()
    except (
        SafetensorError,
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        KeyError,
        Image.DecompressionBombError,
    ) as error:
        raise CharacterDamaged(place, f"{name} is not what its name says ({error}); {_ADVICE}") from error
