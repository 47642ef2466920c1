"""Whether an output can be written is found out before anything slow; what is tried leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from masactrl_video.errors import StorageError, UserError
from masactrl_video.jobs.run.folder import Outputs, check_free, finish_whole
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.cache_limit import check_cache
from masactrl_video.storage import write_errors as storing
from masactrl_video.storage.replace import replacing
from masactrl_video.storage.write_errors import check_can_be_made, check_writable

LETTERS = {"Latin": "a", "Cyrillic": "ж", "Chinese": "長", "emoji": "🐻"}


@pytest.fixture
def settings() -> Settings:
    return resolve(read_preset("demo"), {"clip": "clip.mp4"})


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_a_name_is_written_whole_or_refused_before_with_the_limit(
    tmp_path: Path, settings: Settings, letter: str
) -> None:
    accepted = 0
    for count in range(50, 256, 3):
        video = tmp_path / f"{letter * count}.mp4"
        if len(os.fsencode(video.name)) > 255:
            break
        try:
            check_free(Outputs(video), settings, overwrite=False)
        except UserError as error:
            text = str(error)
            assert "at most 255 bytes" in text
            assert "give a shorter output" in text
            assert len(text) < 300
            continue
        accepted = count
        with replacing(video) as partial:
            partial.write_bytes(b"")
    assert accepted * len(letter.encode()) > 220
    assert {len(path.stem) for path in tmp_path.iterdir()} <= set(range(50, accepted + 1, 3))


def test_a_long_folder_above_the_output_is_refused(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(UserError, match="at most 255 bytes"):
        check_free(Outputs(tmp_path / ("長" * 90) / "out.mp4"), settings, overwrite=False)


def test_a_path_too_long_for_what_lies_in_the_folder_is_refused(tmp_path: Path, settings: Settings) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 19)
    room = 4096 - len(str(deep)) - 60
    with pytest.raises(UserError, match="at most 4096 bytes"):
        check_free(Outputs(deep / ("e" * room) / "out.mp4"), settings, overwrite=False)
    check_free(Outputs(tmp_path.joinpath(*["d" * 200] * 5) / "out.mp4"), settings, overwrite=False)


def test_a_disk_with_shorter_names_has_its_own_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"PC_NAME_MAX": 143, "PC_PATH_MAX": 4096}  # an encrypted home
    monkeypatch.setattr(os, "pathconf", lambda folder, name: limits[name])
    check_can_be_made(tmp_path / ("a" * 110 + ".mp4"))
    with pytest.raises(UserError, match="at most 143 bytes"):
        check_can_be_made(tmp_path / ("a" * 130 + ".mp4"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_in_the_place_of_a_video_is_refused(tmp_path: Path, settings: Settings, overwrite: bool) -> None:
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(UserError, match=r"out\.mp4 is a folder; give another output"):
        check_free(Outputs(tmp_path / "out.mp4"), settings, overwrite)


def test_a_disk_that_only_refuses_when_it_is_written_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(path: Path) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(StorageError, match=r"cannot be written \(Read-only file system\); mend that, or give another"):
        check_writable(tmp_path / "new" / "out.mp4")


def test_what_is_tried_leaves_nothing(tmp_path: Path) -> None:
    check_can_be_made(tmp_path / "new" / "out.mp4", tmp_path / "b.png", folder=tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_letters_that_this_system_does_not_know_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode("ascii"))
    with pytest.raises(UserError, match="file names cannot have 'ж'"):
        check_can_be_made(tmp_path / "ж.mp4")


def test_a_cache_that_cannot_be_is_refused_and_one_with_entries_is_read(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a folder"):
        check_cache(settings.model_copy(update={"cache_dir": tmp_path / "file"}))
    with pytest.raises(StorageError, match=r"file is a file, not a folder; take a folder elsewhere: --cache-dir"):
        check_cache(settings.model_copy(update={"cache_dir": tmp_path / "file" / "cache"}))
    monkeypatch.setattr(storing.os, "access", lambda path, mode: False)  # also for root
    with pytest.raises(StorageError, match="may not be written; allow it, or take a folder elsewhere"):
        check_cache(settings.model_copy(update={"cache_dir": tmp_path / "cache"}))
    (tmp_path / "cache" / ("0" * 32)).mkdir(parents=True)
    check_cache(settings.model_copy(update={"cache_dir": tmp_path / "cache"}))


@pytest.mark.parametrize("name", ["", ".", "..", "/", ".mp4", "out"])
def test_a_name_without_the_suffix_of_a_video_is_refused_first(settings: Settings, name: str) -> None:
    with pytest.raises(UserError, match="has no suffix of a known video"):
        finish_whole(Outputs(Path(name)), settings)


@pytest.mark.parametrize("name", ["", ".", "here", "here/.."])
def test_a_folder_that_is_there_may_be_written_by_any_name_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    check_can_be_made(folder=Path(name))
    assert list(tmp_path.rglob("*")) == [tmp_path / "here"]
