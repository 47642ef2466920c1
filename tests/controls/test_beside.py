"""Guidance that is made in a thread: what is there may be used, what is not is waited for, what fails is said."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from masactrl_video.controls.extract import GuidanceBeside, extract_guidance
from masactrl_video.controls.extractors import GivenFrames
from masactrl_video.errors import UserError

FRAMES, SIZE_PX = 4, (8, 16)
WAIT_SECONDS = 60  # for what must come; never waited in full by a test that passes


def picture(number: int) -> np.ndarray:
    return np.full((*SIZE_PX, 3), 40 + 10 * number, np.uint8)


class Halting:
    """Frames of which those from `at` on come, or fail, when they are let go."""

    def __init__(self, at: int, error: Exception | None = None) -> None:
        self.go, self._at, self._error = Event(), at, error

    def __iter__(self) -> Iterator[np.ndarray]:
        for number in range(FRAMES):
            if number == self._at:
                assert self.go.wait(WAIT_SECONDS)
                if self._error is not None:
                    raise self._error
            yield picture(number)


def beside(folder: Path, frames: Halting, executor: ThreadPoolExecutor) -> GuidanceBeside:
    def extract(tell):
        return extract_guidance(iter(frames), folder=folder, key="key", make=GivenFrames(iter(frames)), tell=tell)

    return GuidanceBeside(extract, executor, key="key", frames=FRAMES, size_px=SIZE_PX)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_a_picture_is_read_before_all_are_there_and_the_rest_is_waited_for(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    frames = Halting(at=2)
    guidance = beside(tmp_path / "guidance", frames, executor)
    np.testing.assert_array_equal(guidance[1], picture(1))
    assert not (tmp_path / "guidance").exists()
    frames.go.set()
    np.testing.assert_array_equal(guidance[3], picture(3))
    assert len(guidance.whole()) == len(guidance) == FRAMES
    np.testing.assert_array_equal(guidance[0], picture(0))


def test_nothing_is_given_before_there_is_something_to_be_seen(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    pictures = [np.zeros((*SIZE_PX, 3), np.uint8)] * 2 + [picture(0)] * 2
    told: list[bool] = []

    def extract(tell):
        def counted(path):
            told.append(path is not None)
            tell(path)

        frames = Halting(at=2)
        frames.go.set()
        return extract_guidance(iter(frames), folder=tmp_path / "g", key="", make=GivenFrames(seen()), tell=counted)

    def seen():
        for number, image in enumerate(pictures):
            assert len(told) == (number if number > 2 else 0)
            yield image

    guidance = GuidanceBeside(extract, executor, key="", frames=FRAMES, size_px=SIZE_PX)
    guidance.wait_for_first()
    np.testing.assert_array_equal(guidance[0], pictures[0])
    assert len(guidance.whole()) == len(told) == FRAMES


def test_waiting_for_the_first_raises_what_has_stopped_it(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    frames = Halting(at=0, error=UserError("frame 0 is damaged"))
    frames.go.set()
    with pytest.raises(UserError, match="frame 0 is damaged"):
        beside(tmp_path / "guidance", frames, executor).wait_for_first()


def test_what_stops_it_is_said_at_any_picture_and_nothing_is_left(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    frames = Halting(at=2, error=UserError("frame 2 is damaged"))
    guidance = beside(tmp_path / "guidance", frames, executor)
    np.testing.assert_array_equal(guidance[0], picture(0))
    frames.go.set()
    for number in (3, 0):
        with pytest.raises(UserError, match="frame 2 is damaged"):
            guidance[number]
    assert not list(tmp_path.iterdir())


def test_it_is_given_up_when_it_is_stopped(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    frames = Halting(at=2)
    guidance = beside(tmp_path / "guidance", frames, executor)
    assert guidance[0] is not None
    guidance.stop()
    frames.go.set()
    executor.shutdown()
    assert not list(tmp_path.iterdir())


def test_its_files_are_used_as_long_as_nothing_is_stopped(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    frames = Halting(at=0)
    frames.go.set()
    guidance = beside(tmp_path / "guidance", frames, executor)
    paths = guidance.paths()
    assert next(paths) == tmp_path / "guidance" / "000000.png"
    guidance.stop()
    with pytest.raises(CancelledError):
        next(paths)
