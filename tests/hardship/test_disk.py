"""Disks that are full, may not be written, or vanish: one clear line, nothing lost, and on it goes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hardship.processes import Command
from hardship.wholeness import check_whole, finished_batches

from masactrl_video.cache.manage import list_entries

Start = Callable[..., Command]
SMALL_BYTES = 2 * 2**20


@pytest.fixture
def small_disk(run_folder: Path) -> Iterator[Path]:
    """A disk of 2 MiB, which this machine's root may mount."""
    folder = run_folder / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True) if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip() if done else 'there is no mount'}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def one_line(command: Command) -> str:
    """What a refused command says at the end."""
    assert command.wait() == 2, command.err
    assert "Traceback" not in command.err
    line = command.err.splitlines()[-1]
    assert line.startswith("masactrl-video: ")
    return line


@pytest.mark.parametrize("place", ["output", pytest.param("cache", marks=pytest.mark.long)])
def test_a_full_disk_is_said_and_after_room_is_made_it_goes_on(
    world: Any, start: Start, small_disk: Path, run_folder: Path, full: bool, place: str
) -> None:
    needed_bytes = sum(path.stat().st_size for path in (world.reference / "out").rglob("*"))
    if place == "cache":
        needed_bytes = sum(entry.bytes for entry in list_entries(world.reference / "cache"))
    rng = random.Random(place)
    shares = [rng.uniform(0.05, 0.95) for _ in range(10)] if full else [0.5]
    for number, share in enumerate(shares):
        folder = small_disk / str(number) if place == "output" else run_folder / str(number)
        folder.mkdir()
        cache = run_folder / f"cache-{number}" if place == "output" else small_disk / f"cache-{number}"
        arguments = [*world.arguments, "--source-storage", "cache", "--cache-dir", str(cache)]
        filler = small_disk / "filler"
        free_bytes = shutil.disk_usage(small_disk).free
        filler.write_bytes(bytes(free_bytes - int(share * needed_bytes) // 4096 * 4096))
        # What the command says is kept elsewhere: the disk is full.
        command = start(run_folder / f"said-{number}", *_at(arguments, folder))
        line = one_line(command)
        assert "No space left on device" in line or "are free: make room there" in line
        assert "make room" in line or "makes room" in line
        assert not list(folder.rglob(".*.partial*"))
        filler.unlink()
        command = start(run_folder / f"said-{number}", *_at(arguments, folder))
        assert command.wait() == 0, command.err
        assert _pixels(folder) == _pixels(world.reference)
        shutil.rmtree(folder)
        shutil.rmtree(cache)


def _at(arguments: list[str], folder: Path) -> list[str]:
    place = arguments.index("out.mp4")
    return [*arguments[:place], str(folder / "out.mp4"), *arguments[place + 1 :]]


def _pixels(folder: Path) -> list[bytes]:
    """Frames without their text, which names the cache."""
    from masactrl_video.video.png import read_png

    return [read_png(path).tobytes() for path in sorted((folder / "out" / "frames").iterdir())]


@pytest.mark.long
def test_a_disk_that_fills_at_any_write_loses_nothing(
    world: Any, start: Start, run_folder: Path, full: bool, record_property: Callable[[str, object], None]
) -> None:
    """Simulated, so that it is tried everywhere: from the n-th write on, fsync says that there is no space."""
    rng = random.Random(2)
    writes = sorted(rng.sample(range(1, 60), 20)) if full else [24]
    refused = 0
    for after in writes:
        command = start(run_folder, *world.arguments, fail_writes_after=after)
        if command.wait() == 0:
            break
        line = command.err.splitlines()[-1]
        if "out.mp4 exists" in line:  # the video appears last: the write that failed came after it
            (run_folder / "out" / ".unfinished").unlink()
            break
        refused += 1
        assert "No space left on device" in line
        assert "the same command" in line
        assert "Traceback" not in command.err
        check_whole(run_folder, world)
        assert not list(run_folder.rglob(".*.partial*"))
    command = start(run_folder, *world.arguments)
    assert command.wait() == 0 or "out.mp4 exists" in command.err
    (run_folder / "out" / ".unfinished").unlink(missing_ok=True)
    world.check_finished(run_folder)
    record_property(
        "figure", f"a disk that fills at a random write | {refused} | {refused} times nothing lost, and it went on"
    )


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_folder_that_may_not_be_written_is_said_before_the_work(world: Any, start: Start, run_folder: Path) -> None:
    folder = run_folder / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    command = start(run_folder, *_at(list(world.arguments), folder), as_anybody=os.getuid() == 0)
    line = one_line(command)
    assert f"the folder {folder} may not be written; allow it, or give another output" in line
    assert "load" not in command.stages
    assert list(folder.iterdir()) == []


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_cache_that_may_not_be_written_is_read(world: Any, start: Start, run_folder: Path) -> None:
    shutil.copytree(world.reference / "cache", run_folder / "cache")
    (run_folder / "cache").chmod(0o555)
    rights = {"as_anybody": os.getuid() == 0}
    command = start(run_folder, *world.arguments, **rights)
    assert command.wait() == 0, command.err
    assert "is reused" in command.err
    (entry,) = list_entries(run_folder / "cache")
    assert entry.problem is None
    arguments = [*world.arguments[:3], "other.mp4", *world.arguments[4:], "--source-frame", "1"]
    command = start(run_folder, *arguments, **rights)
    assert "cannot write the cache in cache: Permission denied; mend that" in one_line(command)
    assert [entry.name for entry in list_entries(run_folder / "cache")] == [entry.name]


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_rights_that_are_lost_during_a_run_are_said_and_it_goes_on(world: Any, start: Start, run_folder: Path) -> None:
    command = start(run_folder, *world.arguments, as_anybody=os.getuid() == 0)
    assert command.reaches("render")
    command.send(signal.SIGSTOP)
    frames = run_folder / "out" / "frames"
    frames.chmod(0o555)
    command.send(signal.SIGCONT)
    line = one_line(command)
    assert "cannot be written (Permission denied); finished frames are kept: allow it" in line
    kept = finished_batches(run_folder)
    frames.chmod(0o755)
    command = start(run_folder, *world.arguments)
    assert command.wait() == 0, command.err
    assert kept.items() <= finished_batches(run_folder).items()
    world.check_finished(run_folder)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("out", "was removed during the run"),
        pytest.param("cache", "changed while in use", marks=pytest.mark.long),
    ],
)
def test_a_folder_that_is_removed_during_a_run_is_said(
    world: Any, start: Start, run_folder: Path, place: str, words: str
) -> None:
    command = start(run_folder, *world.arguments)
    assert command.reaches("render")
    command.send(signal.SIGSTOP)
    shutil.rmtree(run_folder / place)
    command.send(signal.SIGCONT)
    assert words in one_line(command)
    command = start(run_folder, *world.arguments)
    assert command.wait() == 0, command.err
    world.check_finished(run_folder)


def test_the_quota_of_the_cache_makes_the_longest_unused_go(world: Any, start: Start, run_folder: Path) -> None:
    shutil.copytree(world.reference / "cache", run_folder / "cache")
    (first,) = list_entries(run_folder / "cache")
    os.utime(run_folder / "cache" / first.name / "index.json", (1, 1))
    other = [*world.arguments, "--source-frame", "1"]
    command = start(run_folder, *other, "--source-storage", "cache", "--cache-quota", "10KiB")
    line = one_line(command)
    assert "whose quota is 0.0 MB; give a larger --cache-quota" in line
    assert len(list_entries(run_folder / "cache")) == 1
    command = start(run_folder, *other, "--cache-quota", str(first.bytes * 3 // 2))
    assert command.wait() == 0, command.err
    assert f"removed the longest unused entry {first.name}" in command.err
    (second,) = list_entries(run_folder / "cache")
    assert second.name != first.name
