"""An attention mode of another package: found by its entry point, planned by its needs, and used by `render`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import masactrl_video
from masactrl_video.attention.modes.registry import mode_named
from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.settings.modes import OWN_MODES, needs_of
from masactrl_video.settings.presets import read_preset, resolve

OUTSIDE = Path(__file__).parents[1] / "outside_package"
NAME = "half-and-half"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(OUTSIDE)


@pytest.mark.long
def test_render_uses_it_in_a_fresh_process(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    for number in range(2):
        Image.fromarray(np.full((48, 48, 3), 90 * number, np.uint8)).save(tmp_path / "clip" / f"{number}.png")
    paths = os.pathsep.join([str(OUTSIDE), str(Path(masactrl_video.__file__).parents[1])])
    own = {"PYTHONPATH": paths, "MASACTRL_VIDEO_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    flags = "--width 48 --height 48 --num-inference-steps 2 --masa-step 1 --no-side-by-side"
    command = ["render", "clip", "-o", "out.mp4", "--attention-mode", NAME, *flags.split()]
    subprocess.run(
        [sys.executable, "-m", "masactrl_video.cli.main", *command], check=True, cwd=tmp_path, env={**os.environ, **own}
    )
    made = json.loads((tmp_path / "out" / "report.json").read_text())["render"]
    assert made["attention"]["controlled_attention_calls"] == made["attention"]["expected_attention_calls"] > 0
    assert made["lowest_source_share"] == 0.5  # as the mode tells
    assert yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())["attention_mode"] == NAME


@pytest.mark.usefixtures("installed")
def test_a_loaded_pipeline_uses_it(sd1: Any, draw: Callable[..., torch.Tensor]) -> None:
    pictures = []
    with record_source(sd1.unet, masa_layer=0) as recorded:
        draw(sd1, "a bear in the meadow")
    for mode in ("source", "union", NAME):
        with use_source(sd1.unet, recorded, masa_step=1, mode=mode) as control:
            pictures.append(draw(sd1, "a panda in the snow"))
        assert control.check_fired(calls_per_step=1)["controlled_attention_calls"] > 0
    assert len({picture.numpy().tobytes() for picture in pictures}) == 3


@pytest.mark.usefixtures("installed")
def test_a_mode_that_there_is_not_is_answered_with_those_that_there_are() -> None:
    base = {**read_preset("demo"), "clip": "clip.mp4"}
    assert resolve(base, {"attention_mode": NAME}).attention_mode == NAME
    for mode in ("half", "regions"):  # one source has no regions
        with pytest.raises(UserError, match=f"attention_mode: got '{mode}'; Input should be 'source',.* or '{NAME}'"):
            resolve(base, {"attention_mode": mode})
    with pytest.raises(UserError, match=f"attention_mode: got 'half'; give source, union, masked, .*{NAME}"):
        needs_of("half")


def test_what_is_no_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"unsure": SimpleNamespace(needs={"everything"}), "idle": SimpleNamespace(name="idle", needs=frozenset())}
    monkeypatch.setattr("masactrl_video.settings.modes.plugin_names", lambda kind: tuple(points))
    for module in ("settings.modes", "attention.modes.registry"):
        monkeypatch.setattr(f"masactrl_video.{module}.load_plugin", lambda kind, name: points[name])
    with pytest.raises(UserError, match=r"attention_mode unsure: its needs are .*; possible are own, masks, regions"):
        needs_of("unsure")
    with pytest.raises(UserError, match="attention_mode idle: a SimpleNamespace is no mode; it needs name, needs and"):
        mode_named("idle")


@pytest.mark.parametrize("name", OWN_MODES)
def test_our_own_are_what_settings_know_of_them(name: str) -> None:
    assert (mode_named(name).name, mode_named(name).needs) == (name, OWN_MODES[name].needs)
