"""A character as one file, to give to others: a ZIP whose every entry is checked before anything is kept."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from masactrl_video.errors import UserError
from masactrl_video.sources.characters.index import (
    INDEX_NAME,
    MAX_INDEX_BYTES,
    CharacterDamaged,
    parse_index,
)
from masactrl_video.sources.characters.store import Character, check_file, check_vacant, open_character, save_character
from masactrl_video.storage.replace import replacing

_MOST_ENTRIES = 64


@dataclass(frozen=True)
class ArchivedCharacter(Character):
    """A character in a ZIP; `folder` is the ZIP."""

    files: Mapping[str, bytes]

    def read(self, name: str) -> bytes:
        """One of its files."""
        return self.files[name]


def export_character(root: Path, name: str, path: Path, *, overwrite: bool = False) -> None:
    """Write a character as a ZIP; a character gives the same bytes each time.

    Raises:
        UserError: there is none of that name, it is damaged, or the file exists.
    """
    if path.suffix.lower() != ".zip":
        raise UserError(f"{path}: a character is exported as .zip")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; give another name, or --overwrite")
    character = open_character(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for entry in (INDEX_NAME, *sorted(character.index.files)):
            archive.writestr(zipfile.ZipInfo(entry), character.read(entry))


def import_character(root: Path, path: Path, name: str | None = None, *, overwrite: bool = False) -> Character:
    """Keep the character of a ZIP, under its own name or another.

    Raises:
        UserError: as `read_archive`, or the name is taken.
    """
    found = read_archive(path)
    index = found.index
    if name is not None:
        check_vacant(root, name, overwrite)
        index = index.model_copy(update={"name": name})
    return save_character(root, index, found.files, overwrite)


def read_archive(path: Path) -> ArchivedCharacter:
    """The character of a ZIP, kept nowhere.

    Nothing is unpacked to the disk: entries are read up to their listed sizes, and checked.

    Raises:
        UserError: no such file, no ZIP, or anything in it is not as its index says.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not an ordinary file, so no character is read from it")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry.filename for entry in archive.infolist()]
            if INDEX_NAME not in entries or len(entries) > _MOST_ENTRIES:
                raise CharacterDamaged(path, f"it is no exported character (a .zip with {INDEX_NAME})")
            index = parse_index(_read(archive, INDEX_NAME, MAX_INDEX_BYTES), path)
            for entry in entries:
                if entry not in {INDEX_NAME, *index.files} or entries.count(entry) > 1:
                    raise CharacterDamaged(path, f"it holds {entry!r}, which is not part of a character")
            files = {entry: _read(archive, entry, listed.bytes) for entry, listed in index.files.items()}
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as an exported character (.zip): {error}") from error
    for entry, listed in index.files.items():
        check_file(path, entry, files[entry], listed)
    return ArchivedCharacter(path, index, files)


def _read(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    with archive.open(name) as entry:
        data = entry.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise CharacterDamaged(Path(str(archive.filename)), f"{name} is larger than {most_bytes} bytes")
    return data
