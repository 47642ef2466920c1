"""A render that is killed at any moment goes on with the same command, and ends with the same bits."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hardship.processes import STAGES, Command
from hardship.wholeness import check_whole, finished_batches

Start = Callable[..., Command]


def strike(command: Command, stage: str, number: int, world: Any, rng: random.Random) -> str | None:
    """Send a signal at a random moment of a stage; returns that in which it arrived, None when too late."""
    later = STAGES[STAGES.index(stage) :]
    if not command.reaches(*later):
        return None
    time.sleep(rng.uniform(0, world.seconds[stage]))
    where = list(command.stages)[-1]
    if where == "end" or not command.alive:
        return None
    command.send(number)
    return where


def was_made(folder: Path, command: Any) -> bool:
    """Whether a command was refused because the one before it came to its very end."""
    return "out.mp4 exists" in command.err and not (folder / "out" / ".unfinished").exists()


def test_killed_at_random_moments_of_all_stages(
    world: Any, start: Start, run_folder: Path, full: bool, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(0)
    wanted, kills, runs = 50 if full else 5, 0, 0
    arrived: Counter[str] = Counter()
    while kills < wanted:
        folder, kept = run_folder / f"{runs}", {}
        order = list(STAGES) if runs % 2 == 0 else rng.sample(STAGES, len(STAGES))
        for stage in order[: wanted - kills]:
            command = start(folder, *world.arguments)
            where = strike(command, stage, signal.SIGKILL, world, rng)
            status = command.wait()
            if where is None:  # faster than the undisturbed run, or the video was there when the last one was killed
                assert status == 0 or was_made(folder, command), command.err
                break
            assert status in (-signal.SIGKILL, 0)
            kills += status != 0
            arrived[where] += status != 0
            check_whole(folder, world)
            assert kept.items() <= finished_batches(folder).items(), "a finished frame was rendered again"
            kept = finished_batches(folder)
        command = start(folder, *world.arguments)
        status = command.wait()
        assert status == 0 or was_made(folder, command), command.err
        assert kept.items() <= finished_batches(folder).items(), "a finished frame was rendered again"
        world.check_finished(folder)
        runs += 1
    where = ", ".join(f"{stage} {count}" for stage, count in arrived.items())
    record_property(
        "figure",
        f"SIGKILL at a random moment ({where}) | {wanted} | {kills} survived: no frame lost, none rendered twice, "
        "bits equal",
    )
    assert set(arrived) >= set(STAGES) or not full


def test_ctrl_c_stops_within_a_step_and_leaves_nothing_half_written(
    world: Any, start: Start, run_folder: Path, full: bool, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(1)
    slowest_seconds, stops, runs, wanted = 0.0, 0, 0, 20 if full else 1
    while stops < wanted:
        folder = run_folder / f"{runs}"
        command = start(folder, *world.arguments)
        where = strike(command, STAGES[stops % len(STAGES)] if full else "render", signal.SIGINT, world, rng)
        sent = time.monotonic()
        status = command.wait()
        if where is None or status == 0:  # it was faster than the undisturbed run
            assert status == 0, command.err
            runs += 1
            continue
        slowest_seconds, stops = max(slowest_seconds, time.monotonic() - sent), stops + 1
        assert status == 130, command.err
        assert command.err.splitlines()[-1] == "masactrl-video: stopped; the same command goes on where it was"
        assert "Traceback" not in command.err
        check_whole(folder, world)
        assert [path.name for path in folder.rglob(".*")] in ([".unfinished"], [])
        runs += (folder / "out.mp4").exists()
    assert slowest_seconds < 5 + max(world.seconds.values())
    record_property(
        "figure",
        f"Ctrl-C at a random moment | {wanted} | {stops} clean stops, the slowest after {slowest_seconds:.2f} s",
    )
    command = start(folder, *world.arguments)
    assert command.wait() == 0 or was_made(folder, command), command.err
    world.check_finished(folder)


@pytest.mark.long
def test_a_damaged_frame_of_a_stopped_run_is_rendered_again(world: Any, start: Start, run_folder: Path) -> None:
    command = start(run_folder, *world.arguments)
    assert command.reaches("encode")
    command.send(signal.SIGKILL)
    command.wait()
    frame = run_folder / "out" / "frames" / "000002.png"
    data = bytearray(frame.read_bytes())
    data[len(data) // 2] ^= 4
    frame.write_bytes(data)
    command = start(run_folder, *world.arguments)
    assert command.wait() == 0
    assert "000002.png is damaged" in command.err
    assert "it is rendered again" in command.err
    world.check_finished(run_folder)


@pytest.mark.long
def test_a_changed_setting_is_refused_and_restart_begins_anew(world: Any, start: Start, run_folder: Path) -> None:
    command = start(run_folder, *world.arguments)
    assert command.reaches("encode")
    command.send(signal.SIGKILL)
    command.wait()
    before = finished_batches(run_folder)
    changed = [*world.arguments, "--prompt", "a fox", "--crf", "30"]
    command = start(run_folder, *changed)
    assert command.wait() == 2
    line = command.err.splitlines()[-1]
    assert "prompt: 'a bear' -> 'a fox'; --restart discards that run and begins anew" in line
    assert "crf" not in line
    assert finished_batches(run_folder) == before
    (run_folder / "other.mp4").write_bytes(b"finished elsewhere")
    command = start(run_folder, *changed, "--restart")
    assert command.wait() == 0, command.err
    frames = {name: (run_folder / "out" / "frames" / name).read_bytes() for name in world.frames}
    assert all(frames[name] != world.frames[name] for name in frames)
    assert (run_folder / "other.mp4").read_bytes() == b"finished elsewhere"
    assert (run_folder / "out.mp4").stat().st_size > 0
