"""Two processes with the same source or the same output share or wait, and say so; none corrupts the other."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hardship.processes import Command
from hardship.wholeness import check_whole, finished_batches

from masactrl_video.cache.manage import list_entries

Start = Callable[..., Command]


def to(world: Any, name: str) -> list[str]:
    """The arguments with another output."""
    return [name if word == "out.mp4" else word for word in world.arguments]


@pytest.mark.parametrize("first_dies", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_same_source_is_recorded_by_one_and_the_other_waits(
    world: Any, start: Start, run_folder: Path, first_dies: bool
) -> None:
    first = start(run_folder, *to(world, "first.mp4"))
    assert first.reaches("caching")
    first.send(signal.SIGSTOP)
    second = start(run_folder, *to(world, "second.mp4"))
    assert second.says(f"waiting for process {first.pid} that makes the same source")
    assert list_entries(run_folder / "cache") == []
    if first_dies:
        first.send(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    else:
        first.send(signal.SIGCONT)
        assert first.wait() == 0, first.err
    assert second.wait() == 0, second.err
    assert ("is reused" in second.err) is not first_dies
    (entry,) = list_entries(run_folder / "cache")
    assert entry.problem is None
    for name in ["second"] if first_dies else ["first", "second"]:
        frames = {path.name: path.read_bytes() for path in (run_folder / name / "frames").iterdir()}
        assert frames == world.frames


@pytest.mark.parametrize("first_dies", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_same_output_is_written_by_one_and_the_other_waits(
    world: Any, start: Start, run_folder: Path, first_dies: bool
) -> None:
    shutil.copytree(world.reference / "cache", run_folder / "cache")
    first = start(run_folder, *world.arguments)
    assert first.reaches("render")
    first.send(signal.SIGSTOP)
    second = start(run_folder, *world.arguments)
    assert second.says(f"waiting for process {first.pid} that writes the same output")
    if first_dies:
        kept = finished_batches(run_folder)
        first.send(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        assert second.wait() == 0, second.err
        assert kept.items() <= finished_batches(run_folder).items()
    else:
        first.send(signal.SIGCONT)
        assert first.wait() == 0, first.err
        made = {path: path.stat().st_mtime_ns for path in (run_folder / "out").rglob("*.png")}
        assert second.wait() == 0, second.err
        assert "out.mp4 was made meanwhile" in second.err
        assert made == {path: path.stat().st_mtime_ns for path in made}
    world.check_finished(run_folder)


def test_other_settings_for_the_same_output_are_refused_at_once(world: Any, start: Start, run_folder: Path) -> None:
    shutil.copytree(world.reference / "cache", run_folder / "cache")
    first = start(run_folder, *world.arguments)
    assert first.reaches("render")
    first.send(signal.SIGSTOP)
    second = start(run_folder, *world.arguments, "--prompt", "a fox")
    assert second.wait() == 2
    assert "prompt: 'a bear' -> 'a fox'; --restart discards" in second.err.splitlines()[-1]
    second = start(run_folder, *world.arguments, "--prompt", "a fox", "--restart")
    assert second.says(f"waiting for process {first.pid} that writes the same output")
    second.send(signal.SIGINT)
    assert second.wait() == 130
    first.send(signal.SIGCONT)
    assert first.wait() == 0, first.err
    world.check_finished(run_folder)


def test_an_entry_in_use_is_not_pruned_by_another_process(world: Any, start: Start, run_folder: Path) -> None:
    shutil.copytree(world.reference / "cache", run_folder / "cache")
    (entry,) = list_entries(run_folder / "cache")
    render = start(run_folder, *world.arguments)
    assert render.reaches("render")
    render.send(signal.SIGSTOP)
    prunes = {
        wish: start(run_folder, "cache", "prune", *wish, "--cache-dir", "cache")
        for wish in (("--all",), ("--max-size", "0"), (entry.name[:8],))
    }
    assert prunes["--all",].wait() == prunes["--max-size", "0"].wait() == 0
    assert prunes[entry.name[:8],].wait() == 2
    for command in prunes.values():
        assert f"cache entry {entry.name} is in use by another process" in command.err
    assert "removed 0 entries" in prunes["--all",].out
    quota = str(entry.bytes * 3 // 2)
    other = start(run_folder, *to(world, "other.mp4"), "--source-frame", "1", "--cache-quota", quota)
    assert other.wait() == 2
    assert "all that is left is in use" in other.err.splitlines()[-1]
    render.send(signal.SIGKILL)  # it held a lock; dead processes hold none
    render.wait()
    command = start(run_folder, "cache", "prune", "--all", "--cache-dir", "cache")
    assert command.wait() == 0
    assert "removed 1 entry," in command.out
    assert list((run_folder / "cache").iterdir()) == []


@pytest.mark.long
def test_many_at_once_of_which_some_are_killed(
    world: Any, start: Start, run_folder: Path, full: bool, record_property: Callable[[str, object], None]
) -> None:
    """The same output, the same source, and somebody who prunes; whoever is left in the end finishes."""
    rng = random.Random(3)
    rounds, killed = 8 if full else 1, 0
    for number in range(rounds):
        folder = run_folder / str(number)
        renders = [start(folder, *to(world, name)) for name in ("out.mp4", "out.mp4", "other.mp4")[: 3 if full else 2]]
        prune = start(folder, "cache", "prune", "--all", "--cache-dir", "cache")
        time.sleep(rng.uniform(0, sum(world.seconds.values())))
        victim = rng.choice(renders)
        if victim.alive:
            victim.send(signal.SIGKILL)
        assert prune.wait() == 0, prune.err
        for command in renders:
            status = command.wait()
            killed += status < 0
            assert status in (0, -signal.SIGKILL) or "out.mp4 exists" in command.err, command.err
        check_whole(folder, world)
        last = start(folder, *world.arguments)
        assert last.wait() == 0 or "out.mp4 exists" in last.err
        frames = {path.name: path.read_bytes() for path in (folder / "out" / "frames").iterdir()}
        assert frames == world.frames
    record_property(
        "figure",
        f"renders of one output or source and a prune, all at once | {rounds} | {rounds} whole, {killed} killed",
    )
