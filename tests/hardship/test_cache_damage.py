"""Every kind of damage to a recorded source is found before anything is rendered from it, and mended."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from hardship.processes import Command

from masactrl_video.attention.plan import plan_control
from masactrl_video.attention.recorded import SHARED
from masactrl_video.cache.entry_lock import making_path
from masactrl_video.cache.index import checksum_text
from masactrl_video.cache.manage import list_entries
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.latents import encode_picture
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.sources.record import cached_source
from masactrl_video.sources.source import RealSource
from masactrl_video.storage.staging import staging_path

Start = Callable[..., Command]
SIZE = (64, 64)
STEPS = 3


class Recorder:
    """Makes the same source again and again."""

    def __init__(self) -> None:
        self.model = DiffusionModel(tiny_models.sd1_pipeline())
        self.picture = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)

    def __call__(self, root: Path) -> CachedSource:
        model = self.model
        text = encode_prompt(model, "", "", 1.0, SIZE)
        source = RealSource(
            model, make_scheduler(model, "ddim", STEPS), encode_picture(model, self.picture), text.branch(0)
        )
        plan = plan_control(model.unet, STEPS, masa_step=1, masa_layer=12)
        return cached_source(root, model, source, (SHARED,), plan)


@pytest.fixture(scope="module")
def record() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def pristine(record: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An entry as it was recorded."""
    return record(tmp_path_factory.mktemp("pristine")).entry.folder


@pytest.fixture(scope="module")
def of_another_model(record: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An entry recorded by the same settings of a model with other weights."""
    other = Recorder()
    with torch.no_grad():
        other.model.unet.conv_in.bias += 0.1
    return other(tmp_path_factory.mktemp("other")).entry.folder


def any_file(entry: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(entry.iterdir()))


def flip_a_byte(entry: Path, rng: random.Random, other: Path) -> None:
    path = any_file(entry, rng)
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    path.write_bytes(data)


def spoil_a_block(entry: Path, rng: random.Random, other: Path) -> None:
    path = max(entry.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    start = rng.randrange(len(data) - 64)
    data[start : start + 64] = bytes(b ^ 0xFF for b in data[start : start + 64])
    path.write_bytes(data)


def cut(entry: Path, rng: random.Random, other: Path) -> None:
    path = any_file(entry, rng)
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def lose(entry: Path, rng: random.Random, other: Path) -> None:
    any_file(entry, rng).unlink()


def add(entry: Path, rng: random.Random, other: Path) -> None:
    name = rng.choice(["step-0009.safetensors", "notes.txt", ".hidden", "index.json.bak", "index.sha257"])
    (entry / name).write_bytes(rng.randbytes(rng.randrange(100)))


def grow(entry: Path, rng: random.Random, other: Path) -> None:
    with any_file(entry, rng).open("ab") as file:
        file.write(rng.randbytes(1 + rng.randrange(9)))


def swap(entry: Path, rng: random.Random, other: Path) -> None:
    first, second = rng.sample(sorted(entry.iterdir()), 2)
    first.rename(entry / "aside")
    second.rename(first)
    (entry / "aside").rename(second)


def leave_half(entry: Path, rng: random.Random, other: Path) -> None:
    files = sorted(entry.iterdir())
    for path in rng.sample(files, rng.randrange(1, len(files))):
        path.unlink()


def put_a_folder(entry: Path, rng: random.Random, other: Path) -> None:
    path = any_file(entry, rng)
    path.unlink()
    path.mkdir()


def put_a_link(entry: Path, rng: random.Random, other: Path) -> None:
    path = any_file(entry, rng)
    path.rename(entry.parent / "elsewhere")
    path.symlink_to(entry.parent / "elsewhere")


def other_version(entry: Path, rng: random.Random, other: Path) -> None:
    """Well-formed, and signed: only the version differs."""
    path = entry / "index.json"
    index = json.loads(path.read_text()) | {"format_version": rng.choice([0, 1, 3, 99])}
    path.write_text(json.dumps(index, indent=1))
    (entry / "index.sha256").write_text(checksum_text(path.read_bytes()))


def other_model(entry: Path, rng: random.Random, other: Path) -> None:
    """A whole entry of another model, under this one's name, or one file of it."""
    if rng.random() < 0.5:
        shutil.rmtree(entry)
        shutil.copytree(other, entry)
    else:
        path = rng.choice(sorted(entry.glob("step-*")))
        shutil.copy(other / path.name, path)


DAMAGES = (
    *(flip_a_byte, spoil_a_block, cut, lose, add, grow, swap, leave_half, put_a_folder, put_a_link),
    *(other_version, other_model),
)


def tensors(source: CachedSource) -> dict[str, torch.Tensor]:
    found = {"noise": source.initial_noise, "latents": source.latents}
    for step in source.steps:
        recorded = source.read(step)
        found |= {f"{step} {name} key": key for name, key in recorded.keys.items()}
        found |= {f"{step} {name} value": value for name, value in recorded.values.items()}
    return found


def test_damage_is_found_before_use_said_in_one_line_and_mended(
    record: Recorder,
    pristine: Path,
    of_another_model: Path,
    tmp_path: Path,
    full: bool,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    rng = random.Random(0)
    wanted, found = 200 if full else 25, Counter[str]()
    expected = tensors(record(pristine.parent))
    for number in range(wanted):
        root = tmp_path / str(number)
        shutil.copytree(pristine, root / pristine.name)
        damage = DAMAGES[number % len(DAMAGES)]
        damage(root / pristine.name, rng, of_another_model)
        caplog.clear()
        source = record(root)
        (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert re.fullmatch(rf"cache entry {pristine.name} is damaged: [^\n]+; it is recorded anew", line)
        found[damage.__name__] += 1
        now = tensors(source)
        assert now.keys() == expected.keys()
        assert all(torch.equal(now[name], expected[name]) for name in now)
        assert [entry.problem for entry in list_entries(root)] == [None]
        shutil.rmtree(root)
    record_property("figure", f"damages to a recorded source | {wanted} | {found.total()} found before use and mended")


def test_what_processes_that_died_have_left_is_no_obstacle(
    record: Recorder, pristine: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(pristine, tmp_path / pristine.name)
    making_path(tmp_path, pristine.name).write_text('{"pid": 1, "host": "' + os.uname().nodename + '"}')
    half = staging_path(tmp_path / pristine.name)
    half.mkdir()
    shutil.copy(pristine / "step-0001.safetensors", half)
    os.utime(half, (1, 1))
    record(tmp_path)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert not making_path(tmp_path, pristine.name).exists()
    (tmp_path / pristine.name / "index.json").unlink()
    record(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [pristine.name]


@pytest.mark.long
def test_another_model_under_the_same_path_has_its_own_entry_and_no_old_frames(
    world: Any, start: Start, run_folder: Path
) -> None:
    shutil.copytree(world.folder / "model", run_folder / "model")
    arguments = [*world.arguments, "--model", str(run_folder / "model")]
    command = start(run_folder, *arguments)
    assert command.reaches("encode")
    command.send(signal.SIGKILL)
    command.wait()
    tiny_models.sd2_unet().save_pretrained(run_folder / "model" / "unet")
    command = start(run_folder, *arguments)
    assert command.wait() == 2
    assert "it was made from another clip, source or model" in command.err.splitlines()[-1]
    assert len(list_entries(run_folder / "cache")) == 2


@pytest.mark.long
def test_damage_during_a_render_stops_it_and_the_same_command_goes_on(
    world: Any, start: Start, run_folder: Path
) -> None:
    command = start(run_folder, *world.arguments)
    assert command.reaches("render")
    command.send(signal.SIGSTOP)  # the entry was verified; no step of it was read yet, or not for the last frames
    (entry,) = list_entries(run_folder / "cache")
    for path in (run_folder / "cache" / entry.name).glob("step-*"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    command.send(signal.SIGCONT)
    assert command.wait() == 2
    assert "changed while in use: it has another checksum" in command.err.splitlines()[-1]
    kept = {path.name: path.read_bytes() for path in (run_folder / "out" / "frames").glob("[0-9]*.png")}
    assert all(data == world.frames[name] for name, data in kept.items())
    command = start(run_folder, *world.arguments)
    assert command.wait() == 0, command.err
    assert "is damaged: step-" in command.err
    world.check_finished(run_folder)
