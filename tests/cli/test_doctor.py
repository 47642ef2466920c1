"""`masactrl-video doctor`: what is here, what is not, and what to do."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from masactrl_video.jobs import doctor

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("the doctor asks nobody")

    monkeypatch.setattr(socket.socket, "connect", connect)


def findings(run: Run, *arguments: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Exit status, and what was found by what it is about."""
    ran = run("doctor", "--json", *arguments)
    assert ran.err == ""
    found: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(ran.out)["findings"]:
        found.setdefault(finding["about"], []).append(finding)
    return ran.status, found


def test_a_whole_installation_has_no_problem_and_other_presets_are_only_noted(run: Run) -> None:
    status, found = findings(run)
    assert status == 0, [one for all_of in found.values() for one in all_of if one["state"] == "problem"]
    for about in ("masactrl-video", "torch", "diffusers", "device cpu", "ffmpeg", "cache", "disk"):
        assert [finding["state"] in ("ok", "note") for finding in found[about]] == [True]
    assert {finding["state"] for finding in found["preset demo"]} == {"ok"}
    assert "GB" in found["device cpu"][0]["found"]


def test_the_models_of_an_asked_preset_are_problems_with_a_place_and_advice(run: Run) -> None:
    status, found = findings(run, "--preset", "sd15-controlnet")
    missing = [finding for finding in found["preset sd15-controlnet"] if finding["state"] == "problem"]
    assert status == 1
    assert missing
    for finding in missing:
        assert huggingface_hub.constants.HF_HUB_CACHE in finding["found"]
        assert "hf download" in finding["advice"]
    words = run("doctor", "--preset", "sd15-controlnet")
    assert words.status == 1
    assert words.out.splitlines()[-1] == f"{len(missing)} problems"


def test_ffmpeg_that_is_not_there_is_a_problem(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    status, found = findings(run)
    assert status == 1
    (finding,) = found["ffmpeg"]
    assert (finding["state"], bool(finding["advice"])) == ("problem", True)
    assert "/nowhere/ffmpeg" in finding["found"]


def test_damage_in_the_cache_is_noted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ("0" * 32)).mkdir()
    monkeypatch.setenv("MASACTRL_VIDEO_CACHE", str(tmp_path))
    _, found = findings(run)
    (finding,) = found["cache"]
    assert finding["state"] == "note"
    assert "1 source" in finding["found"]
    assert "1 that cannot be used" in finding["found"]
    assert finding["advice"] == "masactrl-video cache list"


def test_a_cache_that_cannot_be_is_a_problem(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MASACTRL_VIDEO_CACHE", str(tmp_path / "file"))
    status, found = findings(run)
    assert (status, found["cache"][0]["state"]) == (1, "problem")


def test_ffmpeg_is_judged_by_what_is_needed_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "ffmpeg"
    old.write_text("#!/bin/sh\necho 'ffmpeg version 4.4.2 Copyright (c) 2000-2021'\n")
    old.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(old))
    (finding,) = list(doctor._ffmpeg())
    assert finding.state == "problem"
    assert finding.found == f"{old} is version 4.4.2, 6.1 or later is needed"
    assert "unset IMAGEIO_FFMPEG_EXE" in finding.advice


@pytest.mark.parametrize(
    ("kind", "name", "state"),
    [
        ("encoders", "libx264", "problem"),
        ("encoders", "libopus", "note"),
        ("demuxers", "ivf", "problem"),
        ("decoders", "png", "problem"),
        ("decoders", "hevc", "note"),
        ("muxers", "webm", "note"),
        ("bsfs", "setts", "note"),
    ],
)
def test_each_part_that_ffmpeg_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: str, name: str, state: str
) -> None:
    listed = doctor.names_of
    monkeypatch.setattr(doctor, "names_of", lambda wanted: listed(wanted) - ({name} if wanted == kind else set()))
    (finding,) = list(doctor._ffmpeg())
    assert finding.state == state
    assert finding.found.endswith(f", without {kind.removesuffix('s')} {name}")


def test_libraries_that_do_not_go_together_are_a_problem_without_loading_them(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, requires = metadata.version, metadata.requires
    changed = {"torch": "2.13.0+cpu", "torchvision": "0.28.0", "opencv-python": "4.10.0"}
    monkeypatch.setattr(metadata, "version", lambda name: changed.get(name) or version(name))
    asked = {"torchvision": ["torch==2.14.0", "pillow>=5.3; extra == 'none'"]}
    monkeypatch.setattr(metadata, "requires", lambda name: asked.get(name) or requires(name))
    status, found = findings(run)
    assert status == 1
    assert [finding["found"] for finding in found["import torchvision"]] == [
        "it needs torch==2.14.0, not 2.13.0+cpu",
        "two builds: torch 2.13.0+cpu beside torchvision 0.28.0",
    ]
    assert "opencv-python-headless" in found["import opencv-python-headless"][0]["advice"]
    assert "libraries" not in found


def test_libraries_are_loaded_when_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    assert "import torchvision" not in findings(run)[1]
    status, found = findings(run, "--load")
    assert status == 1
    assert "nms does not exist" in found["import torchvision"][0]["found"]


def test_torch_is_asked_for_devices_where_a_driver_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(doctor, "_gpus", lambda: asked.append(1) or iter(()))
    for here in (False, True):
        monkeypatch.setattr(doctor, "gpu_may_be_here", lambda here=here: here)
        findings(run)
        assert bool(asked) is here
