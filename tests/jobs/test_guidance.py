"""Guidance on its way through a render: none, edges, poses, ready-made pictures, several at once."""

import json
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video.made_clips import make_clip

from masactrl_video.controls import plan as guidance
from masactrl_video.controls.clip import FittedClip, fit_clip, open_selected
from masactrl_video.controls.extract import GuidanceBeside
from masactrl_video.controls.store import GuidanceFrames
from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.errors import UserError
from masactrl_video.jobs import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.pose_json import read_poses
from masactrl_video.settings.names import FitMode
from masactrl_video.settings.settings import Settings
from masactrl_video.sources import plan as source
from masactrl_video.video.fit import plan_fit
from masactrl_video.video.png import read_png

Render = Callable[..., Outputs]
Frames = Callable[[Outputs], list[np.ndarray]]

_BODY = ((24, 8), (24, 16), (16, 16), (12, 24), (12, 32), (32, 16), (36, 24), (36, 32), (20, 30))
"""Nose to right hip on the 48x48 picture; the other nine points are missing."""


def pose_json(path: Path, frames: int) -> Path:
    def person(shift: int) -> dict[str, list[float]]:
        points = [number for x, y in _BODY for number in (x + shift, y, 1)]
        return {"pose_keypoints_2d": points + [0] * 27}

    content = [{"people": [person(i)], "canvas_width": 48, "canvas_height": 48} for i in range(frames)]
    path.write_text(json.dumps(content))
    return path


def calls(outputs: Outputs) -> list[int]:
    attention = json.loads(outputs.report.read_text())["render"]["attention"]
    return [attention["controlled_attention_calls"], attention["expected_attention_calls"]]


def test_without_guidance_all_frames_are_the_same_picture_unless_each_has_its_noise(
    render: Render, frames_of: Frames, tmp_path: Path
) -> None:
    alike = frames_of(render(tmp_path / "shared.mp4", guidance=[]))
    apart = frames_of(render(tmp_path / "own.mp4", guidance=[], noise="per-frame"))
    assert np.array_equal(alike[0], alike[1])
    assert (apart[0] != apart[1]).any()


@pytest.mark.parametrize("frames", [2, 4])
def test_poses_from_json_for_the_frames_taken_or_the_whole_clip(render: Render, tmp_path: Path, frames: int) -> None:
    poses = pose_json(tmp_path / "poses.json", frames)
    outputs = render(tmp_path / "out.mp4", guidance=["pose"], pose_json=poses)
    drawn = [read_png(outputs.guidance("pose") / f"00000{index}.png") for index in range(2)]
    assert [picture.max() > 100 for picture in drawn] == [True, True]
    assert (drawn[0] != drawn[1]).any()
    written = json.loads((outputs.guidance("pose") / "pose.json").read_text())
    assert (len(written), written[0]["canvas_width"]) == (2, 128)
    nose = written[1]["people"][0]["pose_keypoints_2d"][:2]
    assert nose == pytest.approx([(25 + 0.5) * 128 / 48 - 0.5, (8 + 0.5) * 128 / 48 - 0.5], abs=0.01)
    assert outputs.guidance_video("pose").is_file()


def test_poses_for_another_number_of_frames_are_refused(render: Render, tmp_path: Path) -> None:
    poses = pose_json(tmp_path / "poses.json", 3)
    with pytest.raises(UserError, match="for 3 frames; 2 are taken of the clip's 4"):
        render(tmp_path / "out.mp4", guidance=["pose"], pose_json=poses)


@pytest.mark.parametrize("whole", [False, True])
def test_a_ready_made_video_is_the_guidance(
    render: Render,
    demo: Callable[..., Settings],
    models: Callable[..., Any],
    clip: Path,
    tmp_path: Path,
    whole: bool,
) -> None:
    ready = clip if whole else make_clip(tmp_path / "ready.mp4", frame_rate="10", seconds=0.2, size="48x48")
    outputs = render(tmp_path / "out.mp4", guidance_video={"canny": ready})
    settings = demo(clip=ready)
    for index, frame in enumerate(fit_clip(settings, open_selected(settings), models(settings))):
        assert np.array_equal(read_png(outputs.guidance("canny") / f"00000{index}.png"), frame)


@pytest.mark.long
def test_two_networks_at_once_differ_from_each_alone(render: Render, frames_of: Frames, tmp_path: Path) -> None:
    poses = {"pose_json": pose_json(tmp_path / "poses.json", 2)}
    both = render(tmp_path / "both.mp4", guidance=["canny", "pose"], **poses)
    pose = render(tmp_path / "pose.mp4", guidance=["pose"], **poses)
    canny = render(tmp_path / "canny.mp4")
    assert calls(both) == [8, 8]
    assert len({np.stack(frames_of(outputs)).tobytes() for outputs in (both, pose, canny)}) == 3
    assert {path.name for path in both.folder.glob("guidance-*.mp4")} == {"guidance-canny.mp4", "guidance-pose.mp4"}


@pytest.mark.long
def test_adapters_guide_and_share_the_pictures_of_their_kind(render: Render, frames_of: Frames, tmp_path: Path) -> None:
    adapter = render(tmp_path / "adapter.mp4", guidance=["t2i-canny"])
    both = render(tmp_path / "both.mp4", guidance=["canny", "t2i-canny"])
    assert calls(adapter) == calls(both) == [8, 8]
    assert [path.name for path in both.folder.glob("guidance-*.mp4")] == ["guidance-canny.mp4"]
    assert (np.stack(frames_of(adapter)) != np.stack(frames_of(both))).any()


@pytest.mark.long
def test_weights_and_ranges_have_an_effect(render: Render, frames_of: Frames, tmp_path: Path) -> None:
    def control(**changes: float) -> dict[str, object]:
        network = {"kind": "canny", "adapter": "controlnet", "model": "demo/controlnet-canny"}
        return {"controls": {"canny": {**network, **changes}}}

    made = [
        render(tmp_path / f"{index}.mp4", **control(**changes))
        for index, changes in enumerate([{}, {"scale": 0.5}, {"start": 0.5}, {"end": 0.5}])
    ]
    assert len({np.stack(frames_of(outputs)).tobytes() for outputs in made}) == 4
    with pytest.raises(UserError, match=r"none of the 2 steps lies whole between 0 and 0\.4"):
        render(tmp_path / "out.mp4", **control(end=0.4))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"guidance": ["pose"], "model": str(WEIGHTS)}, "give --pose-detector"),
        (
            {
                "guidance": ["depth"],
                "controls": {"depth": {"kind": "depth", "adapter": "controlnet", "model": "demo/controlnet-pose"}},
            },
            "'depth' cannot be extracted",
        ),
        ({"canny_low_threshold": 300}, "300"),
    ],
)
def test_guidance_that_cannot_be_made_leaves_nothing(
    render: Render, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        render(tmp_path / "out.mp4", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_kind_that_cannot_be_made_stops_those_that_have_begun(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[BaseException] = []

    def extract(tell: Callable[[Path | None], None]) -> GuidanceFrames:
        try:
            for _ in range(6000):
                tell(None)
                time.sleep(0.01)
        except CancelledError as error:
            ended.append(error)
            raise
        raise AssertionError("nobody has stopped it")

    def begin(settings: Settings, clip: FittedClip, kind: str, folder: Path, executor: Executor) -> GuidanceBeside:
        if kind == "pose":
            raise UserError("no detector")
        return GuidanceBeside(extract, executor, key="", frames=len(clip), size_px=clip.size_px)

    monkeypatch.setattr(render_clip, "begin_guidance", begin)
    with pytest.raises(UserError, match="no detector"):
        render(tmp_path / "out.mp4", guidance=["canny", "pose"])
    assert len(ended) == 1


class _Middle:
    """Finds a person who stands in the middle of a frame, and remembers the sizes."""

    identity, threshold = "middle", None

    def __init__(self) -> None:
        self.sizes: set[tuple[int, ...]] = set()

    def __call__(self, image: np.ndarray) -> Pose:
        height, width = image.shape[:2]
        self.sizes.add((width, height))
        body = np.tile(np.array([width * 0.375, 4, 1], np.float32), (18, 1))
        body[9:, :2] = width * 0.625, height - 4
        return Pose((Person(body),), width, height)


@pytest.mark.parametrize("mode", ["crop", "pad", "resize"])
def test_poses_are_found_in_the_clips_own_pixels_and_fitted_exactly(
    demo: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: FitMode
) -> None:
    wide = make_clip(tmp_path / "wide.mp4", size="96x48", seconds=0.2)
    settings = demo(clip=wide, guidance=["pose"], pose_detector="middle.onnx", fit=mode)
    target = {"target_width_px": 24, "target_height_px": 24, "size_factor": 8, "native_area_px": 576}
    clip = FittedClip(open_selected(settings), plan_fit(96, 48, mode=mode, **target))
    detector = _Middle()
    monkeypatch.setattr(guidance, "detector_named", lambda name, threshold: detector)
    made = guidance.make_guidance(settings, clip, "pose", tmp_path / "guidance")
    assert detector.sizes == {(96, 48)}
    assert made.size == (24, 24)
    body = read_poses(made.folder / "pose.json")[0].people[0].body
    ends = np.array([[36, 4], [60, 44]], np.float64)
    np.testing.assert_allclose(body[[1, 10], :2], clip.fit.apply_points(ends), atol=1e-3)


def test_a_clip_without_anybody_is_refused_before_its_source_is_made(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_too_early(*arguments: object) -> None:
        raise AssertionError("the source was begun")

    monkeypatch.setattr(source, "plan_source", made_too_early)
    with pytest.raises(UserError, match="no person is found in any of the 2 frames"):
        render(tmp_path / "out.mp4", guidance=["pose"], pose_threshold=1.0)
    assert list(tmp_path.iterdir()) == []


def test_another_threshold_is_another_key(demo: Callable[..., Settings], tmp_path: Path) -> None:
    fit = plan_fit(48, 48, mode="crop", target_width_px=32, target_height_px=32, size_factor=8, native_area_px=1024)
    keys = set()
    for threshold in (0.0, 0.001):
        settings = demo(guidance=["pose"], pose_threshold=threshold)
        clip = FittedClip(open_selected(settings), fit)
        keys.add(guidance.make_guidance(settings, clip, "pose", tmp_path / "guidance").key)
    assert len(keys) == 2
