"""Every command that writes waits while another process writes the same output, and then looks at it again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from masactrl_video.cli.main import main
from masactrl_video.demo.clip import write_clip
from masactrl_video.poses.named_poses import named_pose
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.storage.lock import lock_file
from masactrl_video.storage.only_writer import lock_path
from masactrl_video.video.png import write_png

FAST = "--num-inference-steps 2 --masa-step 1"
STORY = """settings: {num_inference_steps: 2, masa_step: 1}
characters: {bear: {prompt: a bear}}
pages: [{panels: [{prompt: a bear, characters: [bear]}]}]
"""
COMMANDS = {
    "render": (f"render clip.mp4 -o out.mp4 --frame-load-cap 2 --no-side-by-side {FAST}", "out.mp4"),
    "animate": (f"animate poses.json -o out.mp4 {FAST}", "out.mp4"),
    "sprites": (f"sprites -o out.png --prompt bear --actions idle {FAST}", "out.png"),
    "synthesize": (f"synthesize -o out --source-prompt bear --prompt fox {FAST}", "out/sheet.png"),
    "edit": (f"edit picture.png -o out --prompt fox {FAST}", "out/sheet.png"),
    "sweep": (f"sweep -o out --prompt fox --rows seed=1,2 {FAST}", "out/sheet.png"),
    "compare": (f"compare -o out --prompt fox {FAST}", "out/sheet.png"),
    "comic": ("comic story.yaml -o out.png", "out.png"),
    "frames": ("frames clip.mp4 -o out", "out/000000.png"),
    "guidance": ("guidance clip.mp4 -o out --guidance canny", "out/canny.mp4"),
    "source record": (f"source record clip.mp4 -o out.png {FAST}", "out.png"),
    "source make": (
        "source make bear --prompt bear --characters-dir out --num-inference-steps 2",
        "out/bear/character.json",
    ),
    "encode": ("encode clip.mp4 --frames frames -o out.mp4", "out.mp4"),
    "pose tween": ("pose tween standing waving -o out.json", "out.json"),
    "pose folder": ("pose tween standing waving -o out", "out/000000_keypoints.json"),
    "pose show": ("pose show standing -o out.png", "out.png"),
    "evaluate": ("evaluate -o out --cases 1", "out/values.json"),
    "evaluate panels": ("evaluate -o out --panels --cases 1", "out/panels.json"),
}


class OtherProcess(logging.Handler):
    """Holds the lock until the command says that it waits; then the output is there, and the lock ends."""

    def __init__(self, output: Path, made: Path) -> None:
        super().__init__(logging.WARNING)
        output.parent.mkdir(exist_ok=True)
        self.held = lock_file(lock_path(output), "writes")
        self.made = made
        self.waited = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "that writes the same output" in record.getMessage():
            threading.Thread(target=self.finish).start()

    def finish(self) -> None:
        self.made.parent.mkdir(exist_ok=True)
        self.made.write_bytes(b"by the other")
        self.waited.set()
        assert self.held is not None
        self.held.close(remove=True)


PLACES = {"source make": "out/bear", **dict.fromkeys(["render", "animate", "comic", "sprites"], "out")}
"""What is locked, where it is not what -o names: files of the same name share their folder."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Path]]:
    """Run a command while another process writes the same; its status, and the file that the other has made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MASACTRL_VIDEO_CACHE", str(tmp_path / "cache"))

    def run(name: str, *more: str) -> tuple[int, Path]:
        line, made = COMMANDS[name]
        arguments = [*line.split(), *more]
        for word, write in INPUTS.items():
            if word in arguments:
                write(Path(word))
        output = Path(PLACES.get(name) or arguments[arguments.index("-o") + 1])
        other = OtherProcess(tmp_path / output, tmp_path / made)
        logger = logging.getLogger("masactrl_video.storage.lock")
        logger.addHandler(other)
        try:
            status = main(arguments)
        finally:
            logger.removeHandler(other)
        assert other.waited.is_set()
        return status, tmp_path / made

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_waits_and_then_leaves_what_the_other_made(
    name: str, run: Callable[..., tuple[int, Path]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, made = run(name)
    said = capfd.readouterr().err
    assert status == 2, said
    assert "exists" in said or "made meanwhile" in said or "there already" in said
    assert made.read_bytes() == b"by the other"
    assert not list(tmp_path.rglob(".*"))
    top = made.relative_to(tmp_path).parts[0]
    assert {path.name for path in tmp_path.iterdir()} <= {top, "cache", *INPUTS}


@pytest.mark.parametrize("name", ["render", "comic", "guidance", "source record", "encode", "pose tween", "pose show"])
def test_a_command_that_may_overwrite_waits_too_and_then_replaces_it(
    name: str, run: Callable[..., tuple[int, Path]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, made = run(name, "--overwrite")
    assert status == 0, capfd.readouterr().err
    assert made.read_bytes() != b"by the other"
    assert not list(tmp_path.rglob(".*.lock"))


def _picture(path: Path) -> None:
    write_png(path, np.zeros((64, 64, 3), np.uint8))


def _pictures(path: Path) -> None:
    path.mkdir()
    for number in range(8):
        _picture(path / f"{number}.png")


INPUTS: dict[str, Callable[[Path], object]] = {
    "picture.png": _picture,
    "clip.mp4": lambda path: write_clip(path, iter([np.zeros((64, 64, 3), np.uint8)] * 8), 64, 8),
    "frames": _pictures,
    "poses.json": lambda path: write_poses(path, [named_pose("standing"), named_pose("waving")]),
    "story.yaml": lambda path: path.write_text(STORY),
}
