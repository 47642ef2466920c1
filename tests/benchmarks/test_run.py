"""Everything that the one command measures, on a narrow model and few steps."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from stand_in import write_stand_in

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
    assert set(figures) == {"1", "4"}
    assert figures["1"]["ratios"]["source ÷ recomputed"]["cpu"] > 0
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
    tiling = demo_frames.measure_tiling(weights, ROUNDS, tmp_path / "tiling.png")
    assert (tmp_path / "tiling.png").is_file()
    assert tiling["--vae-tiling, decoding alone, 4 tiles' area"]["max_levels"] > 0
    table = table_of(options=figures, tiling=tiling)
    assert "![One frame, from left to right: exact, skip-uncond 0.25" in table
    assert "decoded at once and in tiles](tiling.png)" in table
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


def test_real_shapes_are_measured_alike(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    import shape_frames
    import shapes
    from benchmarks.test_real_shapes import SD, TEXT

    monkeypatch.setattr(shapes, "CLIP_L", TEXT)
    for key, value in SD.items():
        monkeypatch.setitem(shapes.UNET_SD15, key, value)
    monkeypatch.setitem(shapes.FAMILIES["SD-1.5"].vae, "block_out_channels", (32,) * 4)
    figures = shape_frames.measure_shape("SD-1.5", "96x64", weights / "tokenizer", 1, 1)
    assert set(figures["cpu_seconds_a_step"]) == {"plain", "source", "masked", "recomputed"}
    table = table_of(**{"SD-1.5 96x64": figures})
    assert "| our frame ÷ plain ControlNet frame | SD-1.5 96×64, 1 step, latents |" in table


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
