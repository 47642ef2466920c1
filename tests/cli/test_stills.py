"""The commands for still pictures, as a user types them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from masactrl_video.settings.stills import StillSettings

Run = Callable[..., Any]
SHORT = ("--num-inference-steps", "2", "--masa-step", "1", "--width", "64", "--height", "64")
SOURCE = ("--source-prompt", "a bear in the meadow", "--prompt", "a frog in the meadow")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


@pytest.mark.parametrize(
    ("command", "flags", "names"),
    [
        ("synthesize", (*SOURCE, "a frog", "--seed", "3"), {"source.png", "target-1.png", "target-2.png"}),
        (
            "sweep",
            (*SOURCE, "--seed", "3", "--rows", "masa_step=0,1"),
            {"source.png", "target-row1-column1.png", "target-row2-column1.png"},
        ),
        (
            "compare",
            SOURCE,
            {
                "source.png",
                *(f"target-1-{name}.png" for name in ("masactrl", "fixed-seed", "sdedit")),
                *(f"target-1-{name}.png" for name in ("prompt-to-prompt", "plug-and-play")),
            },
        ),
    ],
)
def test_a_command_says_where_its_sheet_is_and_its_configuration_makes_the_same(
    run: Run, tmp_path: Path, command: str, flags: tuple[str, ...], names: set[str]
) -> None:
    ran = run(command, "-q", *flags, *SHORT, "-o", tmp_path / "new" / "out")
    assert (ran.status, ran.out.strip(), ran.err) == (0, str(tmp_path / "new" / "out" / "sheet.png"), "")
    made = pictures(tmp_path / "new" / "out")
    assert set(made) == {*names, "sheet.png"}
    again = run(command, "-q", "--config", tmp_path / "new" / "out" / "config.yaml", "-o", tmp_path / "again")
    assert again.status == 0
    assert pictures(tmp_path / "again") == made


def test_deep_features_that_are_used_again_change_the_targets(run: Run, tmp_path: Path) -> None:
    for name, flags in (("exact", ()), ("faster", ("--reuse-deep-features", "2"))):
        assert run("synthesize", "-q", *SOURCE, *SHORT, *flags, "-o", tmp_path / name).status == 0
    exact, faster = pictures(tmp_path / "exact"), pictures(tmp_path / "faster")
    assert exact.keys() == faster.keys()
    assert exact["target-1.png"] != faster["target-1.png"]


KNOWN = (
    *("--source-prompt", "a panda in a blue shirt and red pants standing", "--source-guidance", "pose=standing"),
    *("--prompt", "a panda in a blue shirt and red pants waving", "--target-guidance", "pose=waving"),
)


@pytest.mark.long
def test_a_sweep_of_the_demo_model_leaves_figures_that_tell_its_cells_apart(run: Run, tmp_path: Path) -> None:
    steps = ("--num-inference-steps", "8", "--masa-step", "0", "--columns", "masa_step=0,8")
    ran = run("sweep", "-q", *KNOWN, *steps, "-o", tmp_path / "out")
    assert ran.out.split() == [str(tmp_path / "out" / name) for name in ("sheet.png", "figures.csv")]
    with_source, without = csv.DictReader((tmp_path / "out" / "figures.csv").read_text().splitlines())
    assert (with_source["masa_step"], without["masa_step"]) == ("0", "8")
    assert float(with_source["identity_error"]) < float(without["identity_error"])


def test_a_sweep_without_a_right_answer_says_why_it_leaves_no_figures(run: Run, tmp_path: Path) -> None:
    ran = run("sweep", *SOURCE, *SHORT, "--columns", "masa_step=0,1", "-o", tmp_path / "out")
    assert ran.status == 0
    assert not (tmp_path / "out" / "figures.csv").exists()
    assert [line for line in ran.err.splitlines() if "no figures.csv" in line] != []


def test_edit_takes_the_picture_by_its_place(run: Run, photo: Path, tmp_path: Path) -> None:
    flags = ("--prompt", "a frog", "--inversion-iterations", "1", "--no-replay", *SHORT)
    ran = run("edit", photo, *flags, "-o", tmp_path / "out")
    assert ran.status == 0
    made = pictures(tmp_path / "out")
    assert set(made) == {"source.png", "target-1.png", "sheet.png"}
    again = run("edit", "-q", "--config", tmp_path / "out" / "config.yaml", "-o", tmp_path / "again")
    assert again.status == 0
    assert pictures(tmp_path / "again") == made


def test_every_setting_of_still_pictures_has_a_flag_somewhere(run: Run) -> None:
    new = set(StillSettings.model_fields) - {"clip"} - set(StillSettings.__mro__[1].model_fields)  # type: ignore[attr-defined]
    text = " ".join(run(command, "--help").out for command in ("synthesize", "edit", "sweep", "compare"))
    spelled = {"prompts": "prompt", "seeds": "seed"}
    assert [name for name in new if f"--{spelled.get(name, name).replace('_', '-')} " not in text] == []


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        ("synthesize", ["--source-image", "--replay", "--rows", "--sdedit-strength", "--batch-size", "--crf"]),
        ("edit", ["--seed", "--source-guidance", "--scheduler", "--columns", "--source-frame"]),
        ("sweep", ["--p2p-self-steps", "--pose-detector", "--noise"]),
        ("compare", ["--rows", "--audio", "--target-masks"]),
    ],
)
def test_a_command_has_no_flags_that_it_would_ignore(run: Run, command: str, absent: list[str]) -> None:
    text = run(command, "--help").out.split()
    assert [flag for flag in absent if flag in text or f"[{flag}" in text] == []
