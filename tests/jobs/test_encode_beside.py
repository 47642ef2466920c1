"""The output videos are encoded beside the rendering: as frames come, whole at the end, or not at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from masactrl_video.controls.clip import FittedClip, fit_clip, open_selected
from masactrl_video.controls.extract import GuidanceBeside
from masactrl_video.controls.store import GuidanceFrames
from masactrl_video.errors import UserError
from masactrl_video.jobs import encode as encode_beside
from masactrl_video.jobs import render_clip
from masactrl_video.jobs.encode import videos_beside
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.settings.settings import Settings
from masactrl_video.video.clip import open_clip

Begun = tuple[Settings, FittedClip, Outputs]


@pytest.fixture
def begun(
    demo: Callable[..., Settings], models: Callable[..., object], rendered: Outputs, tmp_path: Path
) -> tuple[Begun, list[Path]]:
    """A run of which no frame is there yet, and the frames that are to come."""
    settings = demo(frame_load_cap=None)
    outputs = Outputs(tmp_path / "out.mp4")
    (outputs.folder / "frames").mkdir(parents=True)
    clip = fit_clip(settings, open_selected(settings), models(settings))  # type: ignore[arg-type]
    return (settings, clip, outputs), rendered.frames(4)


def arrive(outputs: Outputs, frames: Iterable[Path]) -> None:
    for frame in frames:
        copied = shutil.copy(frame, outputs.folder / frame.name)
        copied.rename(outputs.folder / "frames" / frame.name)  # whole at once, as a rendered frame comes


def test_frames_are_encoded_as_they_come(begun: tuple[Begun, list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    (settings, clip, outputs), frames = begun
    taken: list[Path] = []
    encode = encode_beside.encode_result

    def watched(settings: Settings, clip: FittedClip, paths: Iterable[Path], *rest: object) -> None:
        encode(settings, clip, (taken.append(path) or path for path in paths), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(encode_beside, "encode_result", watched)
    with videos_beside(settings, clip, {}, outputs, False) as videos:
        for count in range(1, 5):
            arrive(outputs, frames[count - 1 : count])
            deadline = time.monotonic() + 20
            while len(taken) < count and time.monotonic() < deadline:
                time.sleep(0.01)
            assert taken == outputs.frames(4)[:count]
        videos.finish_side_by_side()
        assert not outputs.video.exists(), "it has its place last of all"
        videos.finish_result()
    assert len(open_clip(outputs.video)) == 4


def test_what_stops_the_rendering_stops_them_and_nothing_stays(begun: tuple[Begun, list[Path]]) -> None:
    (settings, clip, outputs), frames = begun
    arrive(outputs, frames[:2])
    with pytest.raises(KeyboardInterrupt), videos_beside(settings, clip, {}, outputs, False):
        raise KeyboardInterrupt
    assert sorted(path.name for path in outputs.folder.parent.iterdir()) == ["out"]
    assert not any(outputs.folder.glob("*.mp4"))


def test_guidance_that_a_video_waits_for_is_stopped_with_it(begun: tuple[Begun, list[Path]]) -> None:
    (settings, clip, outputs), frames = begun
    arrive(outputs, frames)
    asked, ended = Event(), []

    def extract(tell: Callable[[Path | None], None]) -> GuidanceFrames:
        deadline = time.monotonic() + 60
        try:
            while time.monotonic() < deadline:
                tell(None)
                time.sleep(0.01)
        except CancelledError:
            ended.append("stopped")
            raise
        raise AssertionError("nobody has stopped it")

    class Watched(GuidanceBeside):
        def __getitem__(self, index: int) -> np.ndarray:
            asked.set()
            return super().__getitem__(index)

    settings = settings.model_copy(update={"side_by_side": True})
    with ThreadPoolExecutor(1) as executor:
        pictures = Watched(extract, executor, key="", frames=4, size_px=clip.size_px)
        with pytest.raises(KeyboardInterrupt), videos_beside(settings, clip, {"pose": pictures}, outputs, False):
            assert asked.wait(60)
            raise KeyboardInterrupt
        assert ended == ["stopped"]


def test_what_fails_while_they_begin_ends_them(
    begun: tuple[Begun, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings, clip, outputs), _ = begun
    settings = settings.model_copy(update={"side_by_side": True})

    class OneThread(ThreadPoolExecutor):
        submitted = 0

        def submit(self, *work: object, **named: object) -> Future[None]:  # type: ignore[override]
            self.submitted += 1
            if self.submitted == 2:
                raise RuntimeError("can't start new thread")
            return super().submit(*work, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(encode_beside, "ThreadPoolExecutor", OneThread)
    with (
        pytest.raises(RuntimeError, match="can't start new thread"),
        videos_beside(settings, clip, {}, outputs, False),
    ):
        pass


def test_a_video_that_cannot_be_made_ends_the_rendering_at_once(
    render: Callable[..., Outputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Event()

    def fail(*_: object) -> None:
        failed.set()
        raise UserError("ffmpeg was killed")

    monkeypatch.setattr(encode_beside, "encode_result", fail)
    check = encode_beside.VideosBeside.check

    def checked(videos: encode_beside.VideosBeside) -> None:
        assert failed.wait(60)
        check(videos)

    monkeypatch.setattr(encode_beside.VideosBeside, "check", checked)
    with pytest.raises(UserError, match="ffmpeg was killed"):
        render(tmp_path / "out.mp4", batch_size=1, chunk_frames=1)
    assert not any(path.exists() for path in Outputs(tmp_path / "out.mp4").frames(2))


def test_the_side_by_side_of_frames_that_may_be_refused_waits(begun: tuple[Begun, list[Path]]) -> None:
    (settings, clip, outputs), frames = begun
    arrive(outputs, frames)
    settings = settings.model_copy(update={"side_by_side": True})
    with pytest.raises(KeyboardInterrupt), videos_beside(settings, clip, {}, outputs, False):
        time.sleep(1)  # it takes less
        raise KeyboardInterrupt
    assert not outputs.side_by_side.exists()


def test_a_frame_that_was_removed_meanwhile_is_named(begun: tuple[Begun, list[Path]]) -> None:
    (settings, clip, outputs), frames = begun
    arrive(outputs, frames[:3])
    with (
        pytest.raises(UserError, match=r"000003\.png.*makes it anew"),
        videos_beside(settings, clip, {}, outputs, False) as videos,
    ):
        videos.finish_side_by_side()
        videos.finish_result()
    assert not outputs.video.exists()


def test_the_result_has_no_place_where_a_guidance_video_cannot_be_made(
    render: Callable[..., Outputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UserError("no room")

    monkeypatch.setattr(render_clip, "encode_guidance", fail)
    with pytest.raises(UserError, match="no room"):
        render(tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
    monkeypatch.undo()
    assert render(tmp_path / "out.mp4").guidance_video("canny").exists()
