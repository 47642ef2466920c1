"""Every kind of damage is found when an entry is opened, before any tensor of it is used."""

import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from masactrl_video.cache.index import MAX_INDEX_BYTES, CacheDamaged
from masactrl_video.cache.store import open_entry
from masactrl_video.storage.fingerprint import hash_file

STEP = "step-0002.safetensors"


@pytest.fixture
def folder(root: Path, write_entry: Callable[..., str]) -> Path:
    return root / write_entry(prompt="a bear", scale=7.5)


def refused(folder: Path, message: str) -> None:
    with pytest.raises(CacheDamaged, match=message) as caught:
        open_entry(folder.parent, folder.name)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"cache entry {folder.name} in {folder.parent} cannot be used: ")
    assert f"masactrl-video cache prune {folder.name}" in text


def edit_index(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "index.json"
    index = json.loads(path.read_text())
    edit(index)
    path.write_text(json.dumps(index))


def flip(path: Path, position: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("name", [STEP, "step-0003.safetensors", "source.safetensors"])
def test_flipped_bit_in_tensors(folder: Path, name: str) -> None:
    rng = random.Random(name)
    whole = (folder / name).read_bytes()
    for position in [0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(20))]:
        flip(folder / name, position, rng.randrange(8))
        refused(folder, f"{name} has another checksum")
        (folder / name).write_bytes(whole)
    assert open_entry(folder.parent, folder.name)


@pytest.mark.parametrize("name", ["index.json", "index.sha256"])
def test_flipped_bit_in_the_index_is_found(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    rng = random.Random(7)
    for _ in range(150):
        flip(path, rng.randrange(len(whole)), rng.randrange(8))
        refused(folder, "cannot be used")
        path.write_bytes(whole)


@pytest.mark.parametrize("left", [0, 7, 8, 40, -1])
def test_truncated_file(folder: Path, left: int) -> None:
    path = folder / STEP
    path.write_bytes(path.read_bytes()[:left])
    refused(folder, rf"{STEP} has \d+ bytes instead of \d+")


def test_grown_file(folder: Path) -> None:
    with (folder / STEP).open("ab") as file:
        file.write(b"\0")
    refused(folder, rf"{STEP} has \d+ bytes instead of \d+")


@pytest.mark.parametrize("name", [STEP, "source.safetensors", "index.json", "index.sha256"])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(folder, f"{name} is missing")


def test_extra_file_and_its_name_is_not_printed_raw(folder: Path) -> None:
    (folder / "\x1b[31mred.safetensors").write_bytes(b"")
    refused(folder, re.escape(r"'\x1b[31mred.safetensors' is not in its index"))


def test_folder_in_place_of_a_file(folder: Path) -> None:
    (folder / STEP).unlink()
    (folder / STEP).mkdir()
    refused(folder, f"{STEP} is not an ordinary file")


def test_link_to_a_file_elsewhere(folder: Path, tmp_path: Path) -> None:
    (folder / STEP).rename(tmp_path / STEP)
    (folder / STEP).symlink_to(tmp_path / STEP)
    refused(folder, f"{STEP} is not an ordinary file")


def test_entry_under_the_name_of_another(folder: Path) -> None:
    folder = folder.rename(folder.parent / ("0" * 32))
    refused(folder, "index.json belongs to entry")


def test_entry_that_is_a_link_or_a_file(folder: Path, tmp_path: Path) -> None:
    elsewhere = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(elsewhere)
    refused(folder, "index.json is missing or not an ordinary file")
    folder.unlink()
    folder.write_text("")
    refused(folder, "index.json is missing or not an ordinary file")


@pytest.mark.parametrize("version", [0, 1, 3, "2", None, 1.5])
def test_other_format_version(folder: Path, version: object) -> None:
    edit_index(folder, lambda index: index.update(format_version=version))
    refused(folder, f"format version {version!r}, this program 2")


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '{"format_version": 2}', '{"a": NaN}', "[" * 10**5, "\xff", '{"format_version": 2' * 3],
)
def test_index_that_is_none(folder: Path, text: str) -> None:
    (folder / "index.json").write_text(text, encoding="latin-1")
    refused(folder, "index.json (is not JSON|has format version|is wrong at)")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["timesteps", "determined_by"])
def test_number_that_is_none_in_the_index(folder: Path, key: str, value: float) -> None:
    edit_index(folder, lambda index: index.update({key: [value] * 5 if key == "timesteps" else {"scale": value}}))
    refused(folder, "index.json is not JSON")


def test_number_too_large_for_a_float(folder: Path) -> None:
    path = folder / "index.json"
    path.write_text(path.read_text().replace("801.0", "1e999"))
    refused(folder, "index.json is wrong at timesteps.0: Input should be a finite number")


def test_index_of_absurd_size_is_not_read_whole(folder: Path) -> None:
    os.truncate(folder / "index.json", 1 << 40)  # sparse
    refused(folder, f"index.json has more than {MAX_INDEX_BYTES} bytes")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda i: i.update(surprise=1), "surprise: Extra inputs"),
        (lambda i: i.pop("layers"), "layers: Field required"),
        (lambda i: i["determined_by"].update(scale=8.0), "`fingerprint` is not the one of `determined_by`"),
        (lambda i: i.update(steps=[3, 2]), "`steps` are not rising"),
        (lambda i: i.update(steps=[2, 3, 9]), "`steps` are not rising"),
        (lambda i: i.update(steps=[2]), "`files` are not those of `steps`"),
        (lambda i: i["files"].pop(STEP), "`files` are not those of `steps`"),
        (lambda i: i.update(files={}), "files: "),
        (lambda i: i["files"].update({"../../x.safetensors": i["files"][STEP]}), r"files.*x\.safetensors.*pattern"),
        (lambda i: i["files"][STEP].update(bytes=-1), "bytes: "),
        (lambda i: i["files"][STEP].update(bytes="8"), "bytes: "),
        (lambda i: i["files"][STEP].update(bytes=9), rf"{STEP} has \d+ bytes instead of 9"),
        (lambda i: i["files"][STEP].update(sha256="0" * 64), "another checksum"),
        (lambda i: tensor(i).update(dtype="F16"), "holds tensor 'shared/layer.key' otherwise"),
        (lambda i: tensor(i).update(shape=[1, 2, 4, 6]), "holds tensor 'shared/layer.key' otherwise"),
        (lambda i: i["files"][STEP]["tensors"].clear(), "holds tensor 'shared/layer.key' otherwise"),
        (lambda i: i["files"][STEP]["tensors"].update(more=tensor(i)), "holds tensor 'more' otherwise"),
    ],
)
def test_index_that_says_otherwise(folder: Path, edit: Callable[[dict[str, Any]], object], message: str) -> None:
    edit_index(folder, edit)
    refused(folder, message)


def tensor(index: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = index["files"][STEP]["tensors"]["shared/layer.key"]
    return entry


def test_file_that_is_no_safetensors_though_its_checksum_fits(folder: Path) -> None:
    path = folder / STEP
    path.write_bytes((1 << 60).to_bytes(8, "little") + b"\0" * (path.stat().st_size - 8))
    edit_index(folder, lambda index: index["files"][STEP].update(sha256=hash_file(path)))
    refused(folder, f"{STEP} is not a safetensors file")


def test_damage_after_opening_is_found_when_it_is_read(folder: Path) -> None:
    entry = open_entry(folder.parent, folder.name)
    assert entry
    flip(folder / STEP, -1, 0)
    with pytest.raises(CacheDamaged, match=f"{STEP} changed while in use: it has another checksum"):
        entry.read_step(2)
    (folder / STEP).unlink()
    with pytest.raises(CacheDamaged, match=f"{STEP} changed while in use"):
        entry.read_step(2)


def test_whole_file_of_another_run(folder: Path) -> None:
    path = folder / STEP
    save_file({"shared/layer.key": torch.zeros(1, 2, 6, 4, dtype=torch.bfloat16)}, path)
    refused(folder, f"{STEP} has another checksum")
