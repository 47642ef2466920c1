"""What one render leaves behind."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from video.made_clips import ffmpeg

from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.settings.presets import read_config, resolve
from masactrl_video.video.clip import open_clip
from masactrl_video.video.png import read_png, read_png_text


def test_the_video_has_the_clips_frames_times_and_sound(rendered: Outputs, clip: Path) -> None:
    before, after = open_clip(clip), open_clip(rendered.video)
    assert len(after) == len(before) == 4
    assert [t.duration_seconds for t in after.timeline()] == pytest.approx([0.1] * 4, abs=1e-4)
    assert after.info.has_audio
    assert (after.info.width_px, after.info.height_px) == (128, 128)


def test_the_video_shows_the_rendered_frames(rendered: Outputs) -> None:
    luma = np.array([0.2126, 0.7152, 0.0722])  # 4:2:0 halves the colours, and an untrained model makes coloured noise
    for frame, path in zip(open_clip(rendered.video), rendered.frames(4), strict=True):
        assert np.abs(frame.pixels @ luma - read_png(path) @ luma).mean() < 3


def test_everything_that_belongs_to_it_lies_beside_it(rendered: Outputs) -> None:
    names = {path.relative_to(rendered.folder).as_posix() for path in rendered.folder.rglob("*") if path.is_file()}
    numbers = [f"{index:06d}.png" for index in range(4)]
    assert names == {
        "config.yaml",
        "log.txt",
        "report.json",
        "source.png",
        "side-by-side.mp4",
        "guidance-canny.mp4",
        "guidance-canny/index.json",
        *(f"guidance-canny/{name}" for name in numbers),
        *(f"frames/{name}" for name in numbers),
    }
    assert [path.name for path in rendered.video.parent.iterdir() if path.name.startswith(".")] == []


def test_guidance_and_side_by_side_are_as_long_as_the_clip(rendered: Outputs) -> None:
    guidance, beside = open_clip(rendered.guidance_video("canny")), open_clip(rendered.side_by_side)
    assert (len(guidance), len(beside)) == (4, 4)
    assert not guidance.info.has_audio
    assert beside.info.has_audio
    assert beside.info.width_px >= 3 * 128


def test_each_frame_carries_its_parameters(rendered: Outputs) -> None:
    settings = read_config(rendered.config)
    for path in rendered.frames(4):
        text = read_png_text(path)
        assert json.loads(text["masactrl-video"]) == settings
        assert text["parameters"].startswith(settings["prompt"])
        scale = settings["guidance_scale"]
        assert f"Steps: 2, Sampler: ddim, CFG scale: {scale}, Seed: 0, Model: demo" in text["parameters"]


def test_the_video_carries_its_parameters(rendered: Outputs) -> None:
    tags = ffmpeg("-i", rendered.video, "-f", "ffmetadata", "-")
    escaped = re.search(r"^comment=((?:[^\\\n]|\\.)*)", tags, re.MULTILINE | re.DOTALL)
    assert escaped is not None
    comment = json.loads(re.sub(r"\\(.)", r"\1", escaped[1]))
    assert json.loads(comment["masactrl-video"]) == read_config(rendered.config)


def test_the_report_counts_the_controlled_attention(rendered: Outputs) -> None:
    report = json.loads(rendered.report.read_text())
    attention = report["render"]["attention"]
    assert attention["controlled_attention_calls"] == attention["expected_attention_calls"] == 1 * 8
    assert report["render"]["frames_rendered"] == 4
    assert report["controlled_steps"] == [1]
    assert len(report["controlled_layers"]) == 8
    assert set(report["seconds"]) == {"load", "guidance", "source", "render", "encode"}
    assert report["versions"].keys() >= {"masactrl-video", "torch", "diffusers"}
    assert report["peak_memory_bytes"] > 10**8
    assert report["cache_bytes"] == sum(
        file.stat().st_size for file in Path(report["cache_entry"]).glob("*.safetensors")
    )


def test_the_configuration_is_complete(rendered: Outputs) -> None:
    settings = resolve(read_config(rendered.config), {})
    assert settings.as_yaml_data() == read_config(rendered.config)
    assert set(read_config(rendered.config)) == set(type(settings).model_fields)


def test_the_frames_follow_the_source(
    rendered: Outputs, render: Callable[..., Outputs], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = render(tmp_path / "out.mp4", masa_steps=[], frame_load_cap=None)
    assert any("frames do not follow the source" in record.message for record in caplog.records)
    pairs = list(zip(rendered.frames(4), plain.frames(4), strict=True))
    assert any((read_png(with_) != read_png(without)).any() for with_, without in pairs)


@pytest.mark.parametrize("where", [{"masa_step": 2}, {"masa_step": 4}, {"masa_layer": 16, "masa_step": 0}])
def test_control_that_would_never_act_is_refused(
    render: Callable[..., Outputs], tmp_path: Path, where: dict[str, int]
) -> None:
    with pytest.raises(UserError, match=r"none of the 2 denoising steps is controlled.*--masa-step 0|no layer"):
        render(tmp_path / "out.mp4", **where)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_gif_and_webm_come_out_too(render: Callable[..., Outputs], tmp_path: Path) -> None:
    for suffix in (".gif", ".webm"):
        outputs = render(tmp_path / f"out{suffix}")
        assert len(open_clip(outputs.video)) == 2
        (tmp_path / "out").rename(tmp_path / f"kept{suffix}")
