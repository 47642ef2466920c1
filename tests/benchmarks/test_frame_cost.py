"""The benchmark of a frame's cost, run as its README says."""

import os
import subprocess
import sys
from pathlib import Path

from stand_in import write_stand_in

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "frame_cost.py"


def test_every_mode_is_held_against_plain_diffusers(tmp_path: Path) -> None:
    write_stand_in(tmp_path / "weights", sample_px=64)
    table = tmp_path / "table.md"
    flags = [
        "--weights",
        tmp_path / "weights",
        "--num-inference-steps",
        "3",
        "--rounds",
        "1",
        "--batch-sizes",
        "1",
        "2",
    ]
    subprocess.run(
        [sys.executable, SCRIPT, *flags, "--output", table],
        check=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])},
    )
    lines = table.read_text().splitlines()
    assert "64×64, 3 steps" in lines[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[-8:]]
    ways = ["plain diffusers", "source", "union", "masked"]
    assert [cell[:2] for cell in cells] == [[size, way] for size in "12" for way in ways]
    assert all(float(cell[3]) > 0 for cell in cells)
    assert cells[0][3] == "1.00"
