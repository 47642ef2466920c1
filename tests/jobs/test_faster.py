"""Options that trade exactness or memory for time."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_models

from masactrl_video.errors import UserError
from masactrl_video.jobs.compare import compare
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings
from masactrl_video.video.png import read_png_text

Render = Callable[..., Outputs]
Frames = Callable[[Outputs], list[np.ndarray]]
MODES = pytest.mark.parametrize("mode", [{}, {"attention_mode": "masked", "mask_words": ["bear"]}])


def report(outputs: Outputs) -> dict:
    found: dict = json.loads(outputs.report.read_text())
    return found


def largest_difference(one: list[np.ndarray], other: list[np.ndarray]) -> int:
    return int(np.abs(np.subtract(one, other, dtype=np.int16)).max())


@pytest.mark.long
@MODES
def test_steps_without_the_unconditional_branch_halve_the_rows(
    render: Render,
    models: Callable[[Settings], DiffusionModel],
    demo: Callable[..., Settings],
    tmp_path: Path,
    mode: dict,
) -> None:
    rows: list[int] = []
    unet = models(demo()).unet
    hook = unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    try:
        outputs = render(tmp_path / "out.mp4", num_inference_steps=4, masa_step=1, skip_uncond=0.5, **mode)
    finally:
        hook.remove()
    assert rows[-4:] == [4, 4, 2, 2]  # 2 frames
    assert len(rows) == 4 or rows[:4] == [2] * 4, "the source is always made with both branches"
    attention = report(outputs)["render"]["attention"]
    assert attention["controlled_attention_calls"] == attention["expected_attention_calls"] == 3 * 8


@pytest.mark.long
@pytest.mark.parametrize("skip_uncond", [0.0, 0.5])
def test_reused_deep_features_leave_the_outermost_layers_controlled(
    render: Render, frames_of: Frames, tmp_path: Path, skip_uncond: float
) -> None:
    changes = {"num_inference_steps": 4, "masa_step": 1, "skip_uncond": skip_uncond}
    whole = render(tmp_path / "a.mp4", **changes)
    part = render(tmp_path / "b.mp4", **changes, reuse_deep_features=2)
    attention = report(part)["render"]["attention"]
    # of layers 8-15 the last 3 are in the last block; the whole UNet runs at steps 0 and 2
    assert attention["controlled_attention_calls"] == attention["expected_attention_calls"] == 3 + 8 + 3
    assert report(part)["cache_entry"] == report(whole)["cache_entry"], "the source is recorded whole"
    assert report(part)["render"]["lowest_source_share"] == 1
    assert largest_difference(frames_of(whole), frames_of(part)) > 0


def test_other_methods_are_not_compared_by_part_of_the_network(tmp_path: Path) -> None:
    settings = StillSettings(model="demo", prompts=["a bear"], guidance=[], reuse_deep_features=2)
    with pytest.raises(UserError, match="reuse_deep_features: the other methods need the whole UNet"):
        compare(settings, tmp_path / "out")


@pytest.mark.long
def test_skipped_steps_are_said_and_change_the_frames(
    render: Render, frames_of: Frames, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="masactrl_video")
    whole, part = render(tmp_path / "a.mp4"), render(tmp_path / "b.mp4", skip_uncond=0.5)
    assert largest_difference(frames_of(whole), frames_of(part)) > 0
    assert "no unconditional branch in the last 1 of 2 steps" in caplog.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"skip_uncond": 0.5, "guidance_scale": 1.0}, "skip_uncond: it would have no effect"),
        ({"skip_uncond": 0.2}, "skip_uncond: 0.2 of 2 steps is 0"),
        ({"skip_uncond": 0.9}, "skip_uncond: 0.9 of 2 steps is 2"),
        ({"reuse_deep_features": 1}, "reuse_deep_features: got 1"),
        (
            {"reuse_deep_features": 2, "attention_mode": "masked", "mask_words": ["bear"]},
            "reuse_deep_features: masks by words come from layers that it leaves out",
        ),
    ],
)
def test_what_would_do_nothing_or_too_much_is_refused(
    demo: Callable[..., Settings], changes: dict[str, float], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        demo(**changes)


def test_a_smaller_cache_tells_its_error_and_size(render: Render, frames_of: Frames, tmp_path: Path) -> None:
    exact, small = render(tmp_path / "a.mp4"), render(tmp_path / "b.mp4", cache_dtype="int8")
    assert report(exact)["cache_error"] is None
    assert 0 < report(small)["cache_error"] < 0.02
    assert report(small)["cache_bytes"] < 0.5 * report(exact)["cache_bytes"]
    assert 0 < largest_difference(frames_of(exact), frames_of(small)) < 40


@pytest.mark.long
def test_channels_last_changes_at_most_the_last_digits(
    render: Render, demo: Callable[..., Settings], frames_of: Frames, tmp_path: Path
) -> None:
    settings = demo(channels_last=True)
    model = model_from_settings(settings)
    kernel = model.unet.conv_in.weight
    assert kernel.stride(1) == 1, "the kernel is not in channels_last"
    assert model.networks[0].module.conv_in.weight.stride(1) == 1
    outputs, plain = render_clip(settings, tmp_path / "a.mp4", model=model), render(tmp_path / "b.mp4")
    assert largest_difference(frames_of(outputs), frames_of(plain)) <= 1
    assert report(outputs)["cache_entry"] != report(plain)["cache_entry"]


def test_tiling_is_for_pictures_larger_than_the_models(demo: Callable[..., Settings]) -> None:
    assert model_from_settings(demo(vae_tiling=True)).vae.use_tiling
    assert not model_from_settings(demo()).vae.use_tiling


@pytest.mark.long
def test_a_preview_is_decoded_by_another_network_from_the_same_source(
    render: Render, demo: Callable[..., Settings], tmp_path: Path
) -> None:
    tiny_models.taesd(latent_channels=8).save_pretrained(tmp_path / "taesd")  # as the demo model has
    settings = demo(taesd=str(tmp_path / "taesd"))
    preview, exact = render_clip(settings, tmp_path / "a.mp4"), render(tmp_path / "b.mp4")
    assert report(preview)["cache_entry"] == report(exact)["cache_entry"]
    made = [read_png_text(outputs.frames(1)[0])["made-from"] for outputs in (preview, exact)]
    assert made[0] != made[1], "another decoder's frames would be taken for this one's"
    with pytest.raises(UserError, match="vae_tiling: it would have no effect, because taesd decodes"):
        demo(taesd="org/taesd", vae_tiling=True)


@pytest.mark.long
@MODES
def test_prompts_are_read_once_for_all_steps_of_the_frames(
    render: Render,
    models: Callable[[Settings], DiffusionModel],
    demo: Callable[..., Settings],
    tmp_path: Path,
    mode: dict,
) -> None:
    read: list[int] = []
    changes = {"num_inference_steps": 4, "masa_step": 1, **mode}
    render(tmp_path / "a.mp4", **changes)  # the source is recorded
    model = models(demo(**changes))
    middles = [network.mid_block.attentions[0] for network in (model.unet, model.networks[0].module)]
    keys = [middle.transformer_blocks[0].attn2.to_k for middle in middles]
    hooks = [key.register_forward_hook(lambda *_: read.append(1)) for key in keys]
    try:
        render(tmp_path / "b.mp4", **changes)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(read) == 2, "one chunk, two networks"
