"""The cache keeps to its limit, by default too, and nothing goes that somebody needs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from masactrl_video.cache import manage as module
from masactrl_video.cache.holders import forget_done, held_path, hold, is_held, release
from masactrl_video.cache.manage import DEFAULT_BYTES, Quota, cache_size, default_quota, list_entries, make_room, prune
from masactrl_video.cache.store import open_entry
from masactrl_video.errors import StorageError
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.cache_limit import cache_quota, say_cache_size

WriteEntry = Callable[..., str]
NEEDED: Any = resolve(read_preset("demo"), {"clip": "clip.mp4"}).model_dump(exclude={"cache_dir", "cache_quota"})


@pytest.fixture
def names(root: Path, write_entry: WriteEntry) -> list[str]:
    """Three entries, longest unused first."""
    written = [write_entry(seed=seed) for seed in range(3)]
    for age, name in enumerate(written):
        os.utime(root / name / "index.json", (age + 1, age + 1))
    return written


def left(root: Path) -> set[str]:
    return {entry.name for entry in list_entries(root)}


def test_the_longest_unused_go_and_are_said(root: Path, names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    each = cache_size(root)[1] // 3
    make_room(root, Quota(each * 3, asked=False), each)
    assert left(root) == set(names[1:])
    assert f"removed the longest unused entry {names[0]}" in caplog.text
    assert "for the default limit" in caplog.text


def test_nothing_goes_that_somebody_needs(
    root: Path, names: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    each = cache_size(root)[1] // 3
    mark, character = tmp_path / ".unfinished", tmp_path / "character.json"
    mark.touch()
    character.touch()
    hold(root / names[0], mark)
    hold(root / names[1], character)
    opened = open_entry(root, names[2])  # by this process
    with pytest.raises(StorageError, match="in use, or held for unfinished runs and saved characters; give a larger"):
        make_room(root, Quota(each * 3), each * 3)
    assert left(root) == set(names)
    make_room(root, Quota(each * 3, asked=False), each * 3)  # the default refuses nothing
    assert left(root) == set(names)
    assert "all that is left is in use" in caplog.records[-1].message and "all the same" in caplog.records[-1].message
    mark.unlink()  # the run is done
    make_room(root, Quota(each * 3), each)
    assert left(root) == set(names[1:])
    assert not held_path(root, names[0]).exists()
    character.unlink()
    del opened
    make_room(root, Quota(each * 3), each * 3)
    assert left(root) == set()


def test_an_entry_is_held_until_the_run_is_done(root: Path, names: list[str], tmp_path: Path) -> None:
    config, sheet = tmp_path / "config.yaml", tmp_path / "sheet.png"
    entry = root / names[0]
    assert not is_held(root, names[0])
    config.touch()
    for _ in range(2):
        hold(entry, config, sheet)
    assert is_held(root, names[0])
    assert len(held_path(root, names[0]).read_text().splitlines()) == 1
    sheet.touch()
    assert not is_held(root, names[0])
    forget_done(root)
    assert not held_path(root, names[0]).exists()
    for holder in (config, tmp_path):
        hold(entry, holder)
    release(entry, config)
    assert held_path(root, names[0]).read_text().splitlines() == [f'["{tmp_path}"]']
    held_path(root, names[0]).write_bytes(b"\xff[1]\n{}\n[]\n")
    assert not is_held(root, names[0])
    prune(root, everything=True)
    assert list(root.iterdir()) == []


def test_a_source_larger_than_the_default_removes_nothing(
    root: Path, names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    make_room(root, Quota(1000, asked=False), 2000)
    assert left(root) == set(names)
    assert "whose default limit is 0.0 MB; it is recorded all the same" in caplog.text
    with pytest.raises(StorageError, match="give a larger --cache-quota"):
        make_room(root, Quota(1000), 2000)


def test_the_default_is_a_size_or_half_of_the_disk(
    root: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(free=10**15)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: free)
    assert default_quota(root) == Quota(DEFAULT_BYTES, asked=False)
    free.free = 10**6
    assert default_quota(root).bytes == (10**6 + cache_size(root)[1]) // 2
    assert default_quota(root / "none" / "yet").bytes == 10**6 // 2


@pytest.mark.parametrize(("given", "limit"), [("none", None), (None, None), ("2MB", Quota(2_000_000))])
def test_the_limit_is_what_the_settings_say(given: str | None, limit: Quota | None, root: Path) -> None:
    assert cache_quota(Settings(cache_quota=given, **NEEDED)) == limit
    auto = cache_quota(Settings(cache_dir=root, **NEEDED))
    assert auto is not None and not auto.asked


def test_a_large_cache_says_its_size(root: Path, names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    size_bytes = cache_size(root)[1]
    say_cache_size(Settings(cache_dir=root, cache_quota=size_bytes * 3, **NEEDED))
    say_cache_size(Settings(cache_dir=root, cache_quota="none", **NEEDED))
    assert caplog.records == []
    say_cache_size(Settings(cache_dir=root, cache_quota=size_bytes * 2, **NEEDED))
    assert f"the cache is large: 3 sources, 0.0 GB, in {root}; its limit is 0.0 GB" in caplog.text
