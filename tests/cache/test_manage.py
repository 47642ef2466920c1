"""Listing, verifying and pruning."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from masactrl_video.cache.manage import default_cache_root, list_entries, prune, verify_entries
from masactrl_video.errors import UserError
from masactrl_video.storage.staging import staging_path

WriteEntry = Callable[..., str]
DAY_SECONDS = 86400


@pytest.fixture
def three(root: Path, write_entry: WriteEntry) -> list[str]:
    """Entries last used 30, 20 and 10 days ago."""
    entries = [write_entry(seed=seed) for seed in range(3)]
    for entry, days in zip(entries, (30, 20, 10), strict=True):
        used = time.time() - days * DAY_SECONDS
        os.utime(root / entry / "index.json", (used, used))
    return entries


def names(root: Path) -> list[str]:
    return [entry.name for entry in list_entries(root)]


def test_entries_are_listed_longest_unused_first(root: Path, three: list[str]) -> None:
    (root / "notes.txt").write_text("not ours")
    entries = list_entries(root)
    assert [entry.name for entry in entries] == three
    for entry in entries:
        assert entry.bytes == sum(path.stat().st_size for path in (root / entry.name).iterdir())
        assert entry.index
        assert entry.index.steps == (2, 3)
        assert entry.problem is None


def test_no_cache_yet_is_an_empty_list(root: Path) -> None:
    assert list_entries(root) == []
    assert verify_entries(root) == []
    assert prune(root, everything=True) == []
    assert not root.exists()


def test_a_file_in_place_of_the_cache_is_said(root: Path) -> None:
    root.write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        list_entries(root)


def test_verify_finds_what_listing_does_not(root: Path, three: list[str]) -> None:
    path = root / three[1] / "source.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    (root / three[2] / "index.json").write_text("{}")
    assert [entry.problem is None for entry in list_entries(root)].count(False) == 1
    problems = {entry.name: entry.problem for entry in verify_entries(root)}
    assert problems[three[0]] is None
    assert "source.safetensors has another checksum" in str(problems[three[1]])
    assert "format version None" in str(problems[three[2]])
    assert [entry.name for entry in verify_entries(root, [three[0]])] == three[:1]


def test_prune_by_id_also_damaged_ones(root: Path, three: list[str]) -> None:
    (root / three[1] / "index.json").unlink()
    (root / three[1] / "folder").mkdir()
    assert [entry.name for entry in prune(root, ids=[three[1]])] == [three[1]]
    assert names(root) == [three[0], three[2]]


@pytest.mark.parametrize("name", ["0" * 32, "../outside", "", ".", "notes.txt"])
def test_only_entries_can_be_named(root: Path, tmp_path: Path, three: list[str], name: str) -> None:
    (tmp_path / "outside").mkdir()
    (root / "notes.txt").write_text("not ours")
    for attempt in (prune, verify_entries):
        with pytest.raises(UserError, match=r"no entry .* in the cache"):
            attempt(root, ids=[three[0], name])
    assert names(root) == three
    assert (tmp_path / "outside").is_dir()


def test_prune_by_age(root: Path, three: list[str]) -> None:
    assert [entry.name for entry in prune(root, older_than_days=15)] == three[:2]
    assert names(root) == three[2:]


def test_prune_to_a_size_removes_the_longest_unused_first(root: Path, three: list[str]) -> None:
    sizes = [entry.bytes for entry in list_entries(root)]
    assert prune(root, max_bytes=sum(sizes)) == []
    assert [entry.name for entry in prune(root, max_bytes=sum(sizes) - 1)] == three[:1]
    assert [entry.name for entry in prune(root, max_bytes=0)] == three[1:]


def test_age_and_size_together(root: Path, three: list[str]) -> None:
    size = list_entries(root)[-1].bytes
    assert [entry.name for entry in prune(root, older_than_days=25, max_bytes=size)] == three[:2]


def test_prune_everything_leaves_what_is_not_ours(root: Path, tmp_path: Path, three: list[str]) -> None:
    (root / "notes.txt").write_text("not ours")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("")
    (root / ("f" * 32)).symlink_to(tmp_path / "outside")
    assert {entry.name for entry in prune(root, everything=True)} == {*three, "f" * 32}
    assert list(root.iterdir()) == [root / "notes.txt"]
    assert (tmp_path / "outside" / "kept").exists()


def test_prune_without_a_wish_removes_no_entry(root: Path, three: list[str]) -> None:
    assert prune(root) == []
    assert names(root) == three


def test_negative_limits_are_refused(root: Path, three: list[str]) -> None:
    for limits in ({"older_than_days": -1.0}, {"max_bytes": -1}):
        with pytest.raises(UserError, match="negative"):
            prune(root, **limits)  # type: ignore[arg-type]


def test_folders_of_dead_processes_go_and_those_of_living_ones_stay(root: Path, three: list[str]) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine = staging_path(root / ("a" * 32))
    left = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
    elsewhere = mine.with_name(f".{'a' * 32}.partial-other-host-{dead.pid}-00000000")
    silent = mine.with_name(f".{'a' * 32}.partial-other-host-{dead.pid}-11111111")
    for folder in (mine, left, elsewhere, silent):
        folder.mkdir()
        (folder / "step-0000.safetensors").write_bytes(b"12345")
    os.utime(silent, (1, 1))
    removed = {entry.name: entry.bytes for entry in prune(root)}
    assert removed == {left.name: 5, silent.name: 5}
    assert mine.is_dir()
    assert elsewhere.is_dir()
    assert names(root) == three


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MASACTRL_VIDEO_CACHE": "/disk/cache", "XDG_CACHE_HOME": "/xdg"}, "/disk/cache"),
        ({"MASACTRL_VIDEO_CACHE": "~/mine"}, "/home/somebody/mine"),
        ({"MASACTRL_VIDEO_CACHE": "", "XDG_CACHE_HOME": "/xdg"}, "/xdg/masactrl-video"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/somebody/.cache/masactrl-video"),
        ({}, "/home/somebody/.cache/masactrl-video"),
    ],
)
def test_place_of_the_cache(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASACTRL_VIDEO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/somebody", **environment}.items():
        monkeypatch.setenv(name, value)
    assert default_cache_root() == Path(expected)
