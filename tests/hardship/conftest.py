"""One tiny model, one clip, one undisturbed run; and the figures of the long forms at the end of the report."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from hardship import figures
from hardship.processes import Command, Zygote
from video.made_clips import decoded_hashes, make_clip

Start = Callable[..., Command]

_STARTED = pytest.StashKey[float]()


@dataclass(frozen=True)
class World:
    """What all runs share. Runs differ by the folder in which they are started."""

    folder: Path
    arguments: tuple[str, ...]
    """A render of `out.mp4` with the cache `cache`, both in the working folder."""
    reference: Path
    """Folder of an undisturbed run."""
    seconds: dict[str, float]
    """How long each stage of it took."""

    @property
    def frames(self) -> dict[str, bytes]:
        return contents(self.reference / "out" / "frames")

    def check_finished(self, folder: Path) -> None:
        """See that a run has made what the undisturbed one has, bit for bit, and has left nothing else."""
        assert contents(folder / "out" / "frames") == self.frames
        for name in ("out.mp4", "out/side-by-side.mp4", "out/guidance-canny.mp4"):
            assert decoded_hashes(folder / name) == decoded_hashes(self.reference / name)
        assert list(folder.rglob(".*")) == []
        assert {path.name for path in (folder / "out").iterdir()} == {
            path.name for path in (self.reference / "out").iterdir()
        }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture(scope="session")
def start(zygote: Zygote) -> Start:
    numbers = itertools.count()

    def start(folder: Path, *argv: object, fail_writes_after: int | None = None, as_anybody: bool = False) -> Command:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"command-{next(numbers)}"
        words = [str(word) for word in argv]
        settings = {"fail_writes_after": fail_writes_after, "as_anybody": as_anybody}
        pid = zygote.ask(run={"argv": words, "folder": str(folder), "name": name, **settings})["pid"]
        return Command(zygote, folder, name, pid)

    return start


@pytest.fixture(scope="session")
def world(zygote: Zygote, start: Start) -> Iterator[World]:
    """4 frames of 64x64, batches of 2, an inverted source: every stage there is."""
    with tempfile.TemporaryDirectory(prefix="hardship-") as name:
        folder = Path(name)
        pipeline = tiny_models.sd1_pipeline()
        pipeline.save_pretrained(folder / "model")
        tiny_models.controlnet(pipeline.unet).save_pretrained(folder / "controlnet")
        clip = make_clip(folder / "clip.mp4", size="64x64", frame_rate="10", seconds=0.4)
        arguments = (
            *("render", str(clip), "-o", "out.mp4", "--cache-dir", "cache", "--model", str(folder / "model")),
            *("--controlnet", f"canny={folder / 'controlnet'}", "--source", "clip", "--prompt", "a bear"),
            *("--width", "64", "--height", "64", "--num-inference-steps", "4", "--masa-step", "1"),
            *("--batch-size", "2", "--chunk-frames", "2"),
        )
        command = start(folder / "reference", *arguments)
        assert command.wait() == 0, command.err
        zygote.ask(**{"import": json.loads((command.folder / f"{command.name}.modules").read_text())})
        yield World(folder, arguments, folder / "reference", _durations(command))


def _durations(command: Command) -> dict[str, float]:
    begins = command.stages
    return {stage: end - begins[stage] for stage, end in zip(begins, list(begins.values())[1:], strict=False)}


@pytest.fixture
def run_folder(world: World) -> Iterator[Path]:
    """A folder on the same disk for the runs of one test."""
    folder = Path(tempfile.mkdtemp(dir=world.folder, prefix="run-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_STARTED] = time.time()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    config = terminalreporter.config
    if config.getoption("--full"):
        lines = figures.summarise(terminalreporter, config.stash[_STARTED])
        terminalreporter.section("hardship")
        for line in lines:
            terminalreporter.write_line(line)
        if figures.write(lines):
            terminalreporter.write_line(f"written into {figures.PAGE}")
