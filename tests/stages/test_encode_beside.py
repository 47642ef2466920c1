"""The output videos are encoded beside the rendering: as frames come, whole at the end, or not at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from masactrl_video.errors import UserError
from masactrl_video.settings.settings import Settings
from masactrl_video.stages import encode_beside, render_clip
from masactrl_video.stages.clip import FittedClip, fit_clip, open_selected
from masactrl_video.stages.encode_beside import videos_beside
from masactrl_video.stages.outputs import Outputs
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
