"""Everything that the one command measures, on a narrow model and few steps."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from stand_in import write_stand_in

from masactrl_video.model.backbones.unet.prompts import UNetText

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
STEPS, ROUNDS = 4, 1


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_stand_in(folder, sample_px=64)
    return folder


def table_of(**parts: object) -> str:
    import results

    return results.as_markdown({name: {"figures": figures, "about": "a test"} for name, figures in parts.items()})


def test_frames_are_held_against_plain_and_recomputed_ones(weights: Path) -> None:
    import demo_frames

    figures = demo_frames.measure_frames(weights, STEPS, ROUNDS)
    assert set(figures) == {"1", "2", "4"}
    assert [size for size, found in figures.items() if "source ÷ recomputed" in found["ratios"]] == ["1", "2"]
    assert "| our frame ÷ plain ControlNet frame | demo, 4 frames a batch |" in table_of(frames=figures)


def test_streamed_and_held_are_what_they_say(weights: Path) -> None:
    import demo_frames

    figures = demo_frames.measure_feed(weights, STEPS, ROUNDS)
    assert [figures["figures"][way]["held_in_memory"] for way in ("held", "streamed")] == [True, False]
    assert "| cache streamed ÷ held (the model waited " in table_of(feed=figures)


def test_what_is_not_exact_has_a_number_and_a_picture(weights: Path, tmp_path: Path) -> None:
    import demo_frames

    figures = demo_frames.measure_options(weights, STEPS, ROUNDS, tmp_path / "options.png")
    assert figures["exact"]["mean_levels"] == 0
    assert all(found["max_levels"] > 0 for name, found in figures.items() if name.startswith(("--skip", "--reuse")))
    assert (tmp_path / "options.png").is_file()
    decoding = demo_frames.measure_decoding(weights, ROUNDS, tmp_path / "decoding.png")
    assert (tmp_path / "decoding.png").is_file()
    assert set(decoding) == {"--vae-tiling, decoding alone", "--taesd demo/taesd, decoding alone"}
    assert all(found["max_levels"] > 0 for found in decoding.values())
    table = table_of(options=figures, decoding=decoding)
    assert "![One frame, from left to right: exact, skip-uncond 0.25" in table
    assert "decoded at once, in tiles, and as a preview](decoding.png)" in table
    assert "| --vae-tiling" in table


def test_peak_memory_is_held_against_plain(weights: Path) -> None:
    import memory

    figures = {way: memory.measure_memory(weights, STEPS, way) for way in ("plain", "ours")}
    assert figures["ours"]["cache_step_bytes"] > 0 == figures["plain"]["cache_step_bytes"]
    assert "| peak memory ÷ plain (" in table_of(memory=figures)


def test_length_and_peak_are_measured() -> None:
    import length

    figures = length.measure_length(33, 65, piece=32)
    assert (figures["frames"], figures["ratio"]["rounds"]) == ([33, 65], 1)
    assert "65 frames ÷ 33 frames: peak memory" in table_of(length=figures)


@pytest.mark.parametrize(("name", "size"), [("SD-1.5", (512, 512)), ("SDXL", (1024, 1024))])
def test_operations_are_counted_without_values(name: str, size: tuple[int, int], full: bool) -> None:
    if name == "SDXL" and not full:
        pytest.skip("the long form")
    import bounds

    shape = bounds.count_family(name, *size)
    assert 0.9 < shape["our_operations"] / shape["plain_operations"] < 1
    assert 0 < shape["controlled_attention_operations"] < shape["our_operations"]
    rates = {"operations_a_second": 1e9, "bytes_a_second": 1e9}
    assert "## What bounds a step" in table_of(bounds={"rates": rates, "shapes": {name: shape}})


@pytest.fixture
def narrow_sd15(monkeypatch: pytest.MonkeyPatch) -> None:
    """SD-1.5 as deep as it is, but narrow."""
    import shapes
    from benchmarks.test_real_shapes import SD, TEXT

    monkeypatch.setattr(shapes, "CLIP_L", TEXT)
    for key, value in SD.items():
        monkeypatch.setitem(shapes.UNET_SD15, key, value)
    monkeypatch.setitem(shapes.FAMILIES["SD-1.5"].vae, "block_out_channels", (32,) * 4)


def test_real_shapes_are_measured_alike(narrow_sd15: None, weights: Path) -> None:
    import shape_frames

    figures = shape_frames.measure_shape("SD-1.5", "96x64", weights / "tokenizer", 1, 1)
    assert set(figures["cpu_seconds_a_step"]) == {"plain", "source", "masked", "recomputed"}
    table = table_of(**{"SD-1.5 96x64": figures})
    assert "| our frame ÷ plain ControlNet frame | SD-1.5 96×64, steps: 1, latents |" in table


def test_what_is_measured_on_a_gpu_is_there_for_any_device(narrow_sd15: None, weights: Path) -> None:
    import on_gpu

    figures = on_gpu.measure_on_gpu("SD-1.5", "96x64", weights / "tokenizer", 2, 1, (1, 3), "cpu")
    assert [batch["frames"] for batch in figures["batches"]] == [1, 3]
    assert all(batch["source"] > 0 < batch["plain"] for batch in figures["batches"])
    table = table_of(**{"GPU SD-1.5 96x64": figures})
    assert "### SD-1.5 96×64 on CPU, float16, 2 steps" in table
    assert "| frames a batch | ours, frames a second | plain, frames a second |" in table


def test_batches_end_where_memory_does(narrow_sd15: None, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import on_gpu

    def small(job: object, frames: list[int], **_: object) -> Callable[[], None]:
        def work() -> None:
            if len(frames) > 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        return work

    monkeypatch.setattr(on_gpu, "ours", small)
    with on_gpu.shape("SD-1.5", "96x64", weights / "tokenizer", 1, 4) as made:
        assert [batch["frames"] for batch in on_gpu._batches(made, (1, 2, 4))] == [1, 2]


def test_live_tensors_are_counted_and_views_and_weights_are_not() -> None:
    import gpu_memory

    weight, kept = torch.empty(7, 1000), []

    def work() -> None:
        first = torch.empty(1000)
        second = first + weight.t()[:, 0]  # 8000 bytes
        del first
        third = second.reshape(10, 100) * 2
        kept.append(third[0])  # a view holds all of it
        del second, third
        torch.empty(500)  # with `third` 6000

    assert gpu_memory.peak_bytes(work) == 8000


def test_memory_counted_on_shapes_is_that_of_a_real_step(narrow_sd15: None) -> None:
    import gpu_memory
    from without_values import EmptyStep, empty_networks

    unet, controlnet, _ = empty_networks("SD-1.5")
    counted = []
    for frames in (1, 2):
        step = EmptyStep.of(unet, controlnet, (8, 12), 8, 10, frames)
        counted.append(gpu_memory.peak_bytes(step.plain))
    assert counted[0] < counted[1] <= 2 * counted[0]
    real = [network.to_empty(device="cpu") for network in (unet, controlnet)]
    text = UNetText(torch.rand(2, 77, unet.config.cross_attention_dim))
    random = EmptyStep(*real, step.plan, step.source, torch.rand(2, 4, 8, 12), torch.rand(2, 3, 64, 96), text)
    assert gpu_memory.peak_bytes(random.plain) == pytest.approx(counted[1], rel=0.01)


def test_offload_counts_what_works_alone() -> None:
    import gpu_memory

    found = {"text_weights": 1, "denoising_weights": 10, "vae_weights": 2, "step": 3, "cache_step": 1, "decoding": 4}
    assert gpu_memory.most(found, offload=False) == 1 + 10 + 2 + 2 * 1 + 4 + 2  # the VAE in float32 too
    assert gpu_memory.most(found, offload=True) == 10 + 2 * 1 + 3


def test_memory_of_a_gpu_is_a_table(narrow_sd15: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runpy.run_path(str(SCRIPT))
    run["MEMORY"][:] = [("SD-1.5", "96x64", 2)]
    rows = run["gpu_memory"](None)
    assert rows[0]["most"] > rows[0]["most_offloaded"] > rows[0]["denoising_weights"]
    assert "| SD-1.5 96×64 | 2 |" in table_of(gpu_memory=rows)


def test_a_part_that_is_measured_later_is_added_and_the_others_stay(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, table = tmp_path / "results.json", tmp_path / "results.md"
    before = {"figures": {}, "about": "an earlier run"}
    store.write_text(json.dumps({"options": before}))
    flags = ["--rounds", ROUNDS, "--steps", STEPS, "--weights", weights, "--output", table, "--only", "feed"]
    monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parents[1]))  # of the process that measures the part
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, flags)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert set(json.loads(store.read_text())) == {"options", "feed"}
    assert "- options: an earlier run" in table.read_text()
    assert "- feed: `run.py --rounds 1" in table.read_text()
