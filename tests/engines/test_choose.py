"""What is said where there is no Ray, or no cluster; nothing here needs one."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from masactrl_video.engines.choose import engine_of
from masactrl_video.engines.ray_cluster import _refused, connected
from masactrl_video.errors import UserError
from masactrl_video.jobs.doctor import examine_ray
from masactrl_video.settings.engine_parts import EngineSettings
from masactrl_video.settings.presets import read_preset, resolve


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else found(name, *more))


@pytest.mark.usefixtures("no_ray")
def test_without_ray_one_line_says_how() -> None:
    with pytest.raises(UserError, match=r"Ray is not installed; pip install 'masactrl-video\[ray\]'"):
        engine_of(EngineSettings(engine="ray")).__enter__()
    (finding,) = examine_ray()
    assert (finding.state, finding.advice[:12]) == ("problem", "pip install ")


def test_this_process_renders_unless_it_is_said_otherwise() -> None:
    with engine_of(EngineSettings()) as start:
        assert start is None


def test_a_storage_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"storage: no such folder: .*none"):
        engine_of(EngineSettings(engine="ray", storage=tmp_path / "none")).__enter__()


def test_what_belongs_to_ray_is_refused_without_it() -> None:
    with pytest.raises(UserError, match="workers belongs to engine ray"):
        resolve({**read_preset("demo"), "clip": "clip.mp4"}, {"workers": 2})


@pytest.mark.parametrize("address", ["nowhere", "ray://h:1", "h:x", ":1"])
def test_an_address_that_is_none_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name)
    with pytest.raises(UserError, match="give auto, or HOST:PORT"):
        connected(address).__enter__()


def test_a_cluster_that_does_not_answer_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(UserError, match=f"ray_address 127.0.0.1:{port}: no cluster of Ray answers there"):
        connected(f"127.0.0.1:{port}").__enter__()


def test_a_cluster_of_another_version_is_named_with_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__version__="2.60.0"))
    told = "Version mismatch: The cluster was started with:\n    Ray: 2.1.0\n    Python: 3.9.1"
    said = str(_refused("h:6379", RuntimeError(told)))
    assert said.startswith("ray_address h:6379: the cluster is of another version, here are Ray 2.60.0 and Python 3.")
    assert said.endswith("The cluster was started with: Ray: 2.1.0 Python: 3.9.1")
