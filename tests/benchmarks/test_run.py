"""The one command that measures everything, on a narrow model and few steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from masactrl_video.demo.standin import write_stand_in

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
SMALL = ("--rounds", "1", "--steps", "4", "--short-clip", "40", "--long-clip", "48")


def run(folder: Path, *parts: str) -> tuple[dict, str]:
    if not (folder / "weights").exists():
        write_stand_in(folder / "weights", sample_px=64)
    flags = [*SMALL, "--weights", folder / "weights", "--output", folder / "results.md", "--only", *parts]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    subprocess.run([sys.executable, SCRIPT, *flags], check=True, env=environment, stdout=subprocess.DEVNULL)
    return json.loads((folder / "results.json").read_text()), (folder / "results.md").read_text()


def test_frames_are_held_against_plain_and_recomputed_ones(tmp_path: Path) -> None:
    results, table = run(tmp_path, "frames")
    assert set(results["frames"]["figures"]) == {"1", "4"}
    assert "| our frame ÷ plain ControlNet frame | demo, 4 frames a batch |" in table
    assert results["frames"]["figures"]["1"]["ratios"]["source ÷ recomputed"]["cpu"] < 0.9
    assert "`run.py" in table


def test_parts_measured_later_are_added_and_the_others_stay(tmp_path: Path) -> None:
    first, _ = run(tmp_path, "bounds")
    results, table = run(tmp_path, "feed")
    assert results["bounds"] == first["bounds"]
    assert results["feed"]["figures"]["figures"]["held"]["held_in_memory"] is True
    assert results["feed"]["figures"]["figures"]["streamed"]["held_in_memory"] is False
    assert "## What bounds a step" in table
    for shape in results["bounds"]["figures"]["shapes"].values():
        assert 0.8 < shape["our_operations"] / shape["plain_operations"] < 1


def test_what_is_not_exact_has_a_number_and_a_picture(tmp_path: Path) -> None:
    results, table = run(tmp_path, "options")
    found = results["options"]["figures"]
    assert found["exact"]["mean_levels"] == 0
    assert all(figures["max_levels"] > 0 for name, figures in found.items() if name.startswith("--skip"))
    assert (tmp_path / "options.png").is_file()
    assert "![One frame" in table


def test_length_and_peak_are_measured(tmp_path: Path) -> None:
    results, table = run(tmp_path, "length")
    assert [found["frames"] for found in results["length"]["figures"].values()] == [40, 48]
    assert "48 frames ÷ 40 frames: peak memory" in table


def test_real_shapes_are_measured_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import results
    import shape_frames
    import shapes
    from test_real_shapes import SD, TEXT

    monkeypatch.setattr(shapes, "CLIP_L", TEXT)
    for key, value in SD.items():
        monkeypatch.setitem(shapes.UNET_SD15, key, value)
    monkeypatch.setitem(shapes.FAMILIES["SD-1.5"].vae, "block_out_channels", (32,) * 4)
    tokenizer = SCRIPT.parents[1] / "masactrl_video" / "demo" / "weights" / "tokenizer"
    figures = shape_frames.measure_shape("SD-1.5", "96x64", tokenizer, 1, 1)
    assert set(figures["cpu_seconds_a_step"]) == {"plain", "source", "masked", "recomputed"}
    table = results.as_markdown({"SD-1.5 96x64": {"figures": figures, "about": "a test"}})
    assert "| our frame ÷ plain ControlNet frame | SD-1.5 96×64, 1 step, latents |" in table
