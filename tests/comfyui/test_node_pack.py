"""The folder for ComfyUI's registry: what it says of itself, and workflows whose wires fit."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from PIL import Image

import masactrl_video

PACK = Path(masactrl_video.__file__).parent / "comfyui" / "node_pack"
WORKFLOWS = sorted((PACK / "example_workflows").glob("*.json"))


def test_it_says_what_the_registry_asks() -> None:
    about = tomllib.loads((PACK / "pyproject.toml").read_text())
    assert len(about["project"]["name"]) < 100
    assert "comfyui" not in about["project"]["name"].lower()
    assert about["project"]["version"].count(".") == 2
    assert about["project"]["version"] == masactrl_video.__version__
    assert Image.open(PACK / about["tool"]["comfy"]["Icon"]).size == (256, 256)
    assert about["tool"]["comfy"]["requires-comfyui"]
    ignored = (PACK / ".comfyignore").read_text().split()
    assert {path.name for path in PACK.glob("*.py")} - set(ignored) == {"__init__.py"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_wires_of_example_workflows_fit(path: Path) -> None:
    workflow = json.loads(path.read_text())
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for number, start, slot, end, place, kind in workflow["links"]:
        offered, taken = nodes[start]["outputs"][slot], nodes[end]["inputs"][place]
        assert number in offered["links"] and taken["link"] == number
        assert offered["type"] == kind and taken["type"] in (kind, "*")
    assert Image.open(path.with_suffix(".jpg")).width == 800
