"""Numbers that are not finite, a device without memory, and a source without influence."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masactrl_video.errors import UserError
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.model.memory import BatchSize
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png

Make = Callable[..., tuple[Settings, DiffusionModel]]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Settings and demo model for 5 frames of 48x48, 2 steps, the second controlled, without guidance."""
    from video.made_clips import make_clip

    place = tmp_path_factory.mktemp("overflow")
    clip = make_clip(place / "clip.mp4", size="48x48", frame_rate="10", seconds=0.5)
    short = {"clip": clip, "cache_dir": place / "cache", "num_inference_steps": 2, "masa_step": 1, "guidance": []}
    short |= {"side_by_side": False, "width": 64, "height": 64, "noise": "per-frame"}

    def settings(**changes: Any) -> tuple[Settings, DiffusionModel]:
        made = resolve({**read_preset("demo"), **short}, changes)
        return made, model_from_settings(made)

    return settings


@contextmanager
def broken(module: torch.nn.Module, row: int, *, dtypes: tuple[torch.dtype, ...], calls: range) -> Iterator[None]:
    """A layer whose output is NaN for one row of a batch, in some of its calls, in some number formats."""
    count = 0

    def spoil(layer: torch.nn.Module, _: Any, output: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        if output.dtype not in dtypes or count - 1 not in calls or output.shape[0] <= row:
            return output
        output = output.clone()
        output[row] = float("nan")
        return output

    handle = module.register_forward_hook(spoil)
    try:
        yield
    finally:
        handle.remove()


def frames_of(folder: Path) -> list[np.ndarray]:
    return [read_png(path).astype(int) for path in sorted((folder / "frames").iterdir())]


def report_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "report.json").read_text()))


def test_a_frame_that_overflows_in_half_precision_is_made_again_in_float32(make: Make, tmp_path: Path) -> None:
    settings, model = make(dtype="bfloat16")
    whole = render_clip(settings, tmp_path / "whole.mp4", model=model)
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    # frames 0-3 are rows 0-3 and, in the other branch, 4-7; the batch of the source has 2 rows
    with broken(model.unet.conv_out, 2, dtypes=(torch.bfloat16,), calls=range(1000)):
        outputs = render_clip(settings, tmp_path / "out.mp4", model=model)
    figures = report_of(outputs.folder)["render"]
    assert (figures["frames_again_in_float32"], figures["frames_black"]) == ([2], [])
    assert any("frame 2: numbers ran over in bfloat16" in text for text in report_of(outputs.folder)["warnings"])
    assert model.dtype == torch.bfloat16
    assert all(torch.equal(before[name], tensor) for name, tensor in model.unet.state_dict().items())
    for frame, (left, right) in enumerate(zip(frames_of(outputs.folder), frames_of(whole.folder), strict=True)):
        if frame == 2:
            assert right.std() > 1
            assert 0 < np.abs(left - right).mean() < 0.2 * right.std(), "the same picture, by more exact numbers"
        else:
            assert np.array_equal(left, right)


@pytest.mark.long
def test_frames_that_follow_an_overflow_are_made_again_with_all_before_them_in_the_chunk(
    make: Make, tmp_path: Path
) -> None:
    """Frame 2 spoils its neighbours: 3 in the same batch, and 4 in the next one."""
    settings, model = make(dtype="bfloat16", neighbour=0.5)
    whole = render_clip(settings, tmp_path / "whole.mp4", model=model)
    with broken(model.unet.conv_out, 2, dtypes=(torch.bfloat16,), calls=range(1000)):
        outputs = render_clip(settings, tmp_path / "out.mp4", model=model)
    assert report_of(outputs.folder)["render"]["frames_again_in_float32"] == [2, 3, 4]
    for frame, (left, right) in enumerate(zip(frames_of(outputs.folder), frames_of(whole.folder), strict=True)):
        assert (np.abs(left - right).mean() < 0.2 * right.std()) if frame >= 2 else np.array_equal(left, right)


def test_numbers_that_overflow_in_float32_too_stop_the_run_with_step_and_layer(make: Make, tmp_path: Path) -> None:
    settings, model = make(dtype="bfloat16")
    layer = model.unet.up_blocks[-1].resnets[0].conv1
    both = (torch.bfloat16, torch.float32)
    with (
        broken(layer, 2, dtypes=both, calls=range(1000)),
        pytest.raises(UserError, match=r"^frame 2: .* first at denoising step 0, in up_blocks\.\d+\.resnets\.0\.conv1"),
    ):
        render_clip(settings, tmp_path / "out.mp4", model=model)
    assert not (tmp_path / "out.mp4").exists()


def test_a_source_that_overflows_is_refused_with_step_and_layer(make: Make, tmp_path: Path) -> None:
    settings, model = make(seed=77, cache_dir=tmp_path / "cache")
    with (
        broken(model.unet.conv_out, 0, dtypes=(torch.float32,), calls=range(1)),
        pytest.raises(UserError, match=r"source: its numbers are not finite in float32, at denoising step 1, in or"),
    ):
        render_clip(settings, tmp_path / "out.mp4", model=model)


def test_a_vae_that_overflows_decodes_again_in_float32(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, model = make(dtype="bfloat16", frame_load_cap=1)
    with broken(model.vae.decoder.conv_out, 0, dtypes=(torch.bfloat16,), calls=range(1000)):
        outputs = render_clip(settings, tmp_path / "out.mp4", model=model)
    assert frames_of(outputs.folder)[0].std() > 1
    assert "the VAE ran over" in caplog.text
    assert model.vae.dtype == torch.bfloat16
    with (
        broken(model.vae.decoder.conv_out, 0, dtypes=(torch.bfloat16, torch.float32), calls=range(1000)),
        pytest.raises(UserError, match="not finite numbers in float32 either"),
    ):
        render_clip(settings, tmp_path / "other.mp4", model=model)


@contextmanager
def small_memory(model: DiffusionModel, most_rows: int) -> Iterator[list[int]]:
    """A UNet that is out of memory for more rows; yields the batch sizes that were tried."""
    tried: list[int] = []

    def check(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows = (args[0] if args else kwargs["sample"]).shape[0]
        tried.append(rows)
        if rows > most_rows:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    handle = model.unet.register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield tried
    finally:
        handle.remove()


def test_out_of_memory_halves_the_batch_and_goes_on(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, model = make()
    outputs = {}
    for batch_size in (4, 2):
        changed = settings.model_copy(update={"batch_size": batch_size})
        outputs[batch_size] = render_clip(changed, tmp_path / f"{batch_size}.mp4", model=model)
    with caplog.at_level(logging.WARNING), small_memory(model, most_rows=4) as tried:
        halved = render_clip(settings, tmp_path / "out.mp4", model=model)
    assert [record.message[:13] for record in caplog.records].count("out of memory") == 1
    assert 8 in tried
    figures = report_of(halved.folder)["render"]
    assert (figures["batch_size"], figures["batch_size_at_the_end"], figures["frames_rendered"]) == (4, 2, 5)
    assert figures["attention"]["controlled_attention_calls"] == figures["attention"]["expected_attention_calls"] > 0
    for made, as_two, as_four in zip(*(frames_of(o.folder) for o in (halved, outputs[2], outputs[4])), strict=True):
        assert np.array_equal(made, as_two), "the same bits as with batches of two from the start"
        assert np.abs(made - as_four).max() <= 3


def test_a_lack_of_memory_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    batch, tried = BatchSize(4), []

    def work(batches: list[range]) -> None:
        tried.append(max(map(len, batches)))
        if tried[-1] > 1:
            raise torch.OutOfMemoryError("out of memory")

    for attempt in batch.attempts([range(4)]):
        with attempt as batches:
            work(batches)
    assert tried == [4, 2, 1]
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_out_of_memory_for_one_frame_says_what_to_do(make: Make, tmp_path: Path) -> None:
    settings, model = make()
    render_clip(settings, tmp_path / "first.mp4", model=model)  # records the source
    with small_memory(model, most_rows=1), pytest.raises(UserError, match="not enough memory for one frame of 64x64"):
        render_clip(settings, tmp_path / "out.mp4", model=model)


def test_other_errors_of_the_device_are_no_lack_of_memory(make: Make, tmp_path: Path) -> None:
    settings, model = make()
    render_clip(settings, tmp_path / "first.mp4", model=model)

    def fail(*_: Any) -> None:
        raise RuntimeError("device-side assert")

    handle = model.unet.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="device-side assert"):
            render_clip(settings, tmp_path / "out.mp4", model=model)
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("changes", "without"),
    [
        ({}, []),
        ({"attention_mode": "union"}, []),
        ({"masa_steps": []}, [0, 1]),
    ],
)
def test_frames_that_the_source_did_not_reach_are_named(
    make: Make, tmp_path: Path, changes: dict[str, Any], without: list[int]
) -> None:
    settings, model = make(frame_load_cap=2, **changes)
    figures = report_of(render_clip(settings, tmp_path / "out.mp4", model=model).folder)["render"]
    assert figures["frames_without_source"] == without
    share = figures["lowest_source_share"]
    assert share == 0 if without else (share == 1 if not changes else 0.001 < share < 0.999)
