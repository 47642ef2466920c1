"""The conversion of .bin files, run as a user would."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
import torch
from diffusers import UNet2DConditionModel

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "convert_to_safetensors.py"


def convert(*folders: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *folders], capture_output=True, text=True)


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The line that the script ends with, run in this process."""

    def run(*folders: Path) -> str:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, folders)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        assert isinstance(ended.value.code, str)  # printed on stderr, with exit status 1
        return ended.value.code

    return run


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.touched),)


@pytest.mark.long
def test_the_converted_network_is_the_same(tmp_path: Path) -> None:
    unet = tiny_models.sd1_unet()
    unet.save_pretrained(tmp_path / "in", safe_serialization=False)
    assert [path.name for path in (tmp_path / "in").glob("*.bin")] == ["diffusion_pytorch_model.bin"]
    assert convert(tmp_path / "in", tmp_path / "out").returncode == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "diffusion_pytorch_model.safetensors"}
    loaded = UNet2DConditionModel.from_pretrained(tmp_path / "out", use_safetensors=True)
    for name, tensor in unet.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_names_are_those_that_the_libraries_look_for(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    shared = torch.ones(2)
    torch.save({"a": shared, "b": shared}, tmp_path / "pytorch_model.bin")
    torch.save({"a": shared}, tmp_path / "diffusion_pytorch_model.fp16.bin")
    assert convert(tmp_path, tmp_path / "out").returncode == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "model.safetensors", "diffusion_pytorch_model.fp16.safetensors"}


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    torch.save({"a": Payload(tmp_path / "touched")}, tmp_path / "pytorch_model.bin")
    done = convert(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert "pytorch_model.bin: it must hold tensors by name and nothing else" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "pytorch_model.bin"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "it does not hold config.json and a .bin"),
        ({"config.json": b"{}"}, "it does not hold config.json and a .bin"),
        ({"config.json": b"{}", "pytorch_model.bin": b"not torch"}, "it must hold tensors by name"),
        ({"config.json": b"{}", "pytorch_model.bin": b""}, "it must hold tensors by name"),
        ({"config.json": b"{}", "a-00001-of-00002.bin": b"", "a.bin.index.json": b"{}"}, "split over several .bin"),
    ],
)
def test_wrong_folders_are_named_and_nothing_is_left(
    tmp_path: Path, refusal: Callable[..., str], files: dict[str, bytes], expected: str
) -> None:
    (tmp_path / "in").mkdir()
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    assert expected in refusal(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_existing_folder_is_left_alone(tmp_path: Path, refusal: Callable[..., str]) -> None:
    (tmp_path / "out").mkdir()
    assert refusal(tmp_path, tmp_path / "out") == f"{tmp_path / 'out'} exists; name a folder that does not"
