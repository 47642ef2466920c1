"""The command line in this process: `run(*arguments)` gives its exit status and what it printed."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tqdm
from video.made_clips import make_clip

from masactrl_video.cli.main import main


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 frames of 48x48."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", size="48x48", frame_rate="10", seconds=0.3)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ran]]:
    monkeypatch.setenv("MASACTRL_VIDEO_CACHE", str(cache_dir))
    monkeypatch.setenv("MASACTRL_VIDEO_CHARACTERS", str(cache_dir / "characters"))
    monkeypatch.setenv("TQDM_DISABLE", "1")  # the command sets it; here tqdm is imported before, so it is told again
    monkeypatch.setattr(tqdm.std.tqdm, "__init__", functools.partialmethod(tqdm.std.tqdm.__init__, disable=True))
    logger = logging.getLogger("masactrl_video")
    handlers, level = list(logger.handlers), logger.level

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:  # --help and --version
            status = int(end.code or 0)
        return Ran(status, *capsys.readouterr())

    yield run
    logger.handlers[:] = handlers
    logger.setLevel(level)
