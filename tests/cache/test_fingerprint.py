"""What a fingerprint tells apart, and what it does not."""

import hashlib
from pathlib import Path

import pytest
import torch

import masactrl_video
from masactrl_video.storage import fingerprint as module
from masactrl_video.storage.fingerprint import (
    files_sha256,
    fingerprint,
    hash_bytes,
    hash_file,
    hash_json,
    hash_module,
    hash_tensor,
)

ALL_DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn]


def test_order_of_keys_does_not_matter_and_values_do() -> None:
    settings = {"prompt": "a bear", "steps": {"S": 4, "L": 10}, "seed": 1}
    assert fingerprint(settings) == fingerprint(dict(reversed(settings.items())))
    assert fingerprint(settings) != fingerprint({**settings, "seed": 2})
    assert fingerprint(settings) != fingerprint({**settings, "steps": {"S": 4, "L": 11}})
    assert len(fingerprint(settings)) == 32


@pytest.mark.parametrize("value", [float("nan"), float("inf"), (1, 2), {1: "a"}, object(), "\udc80"])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        fingerprint({"value": value})  # type: ignore[dict-item]


@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_one_changed_value_changes_the_hash_of_a_tensor(dtype: torch.dtype) -> None:
    tensor = torch.zeros(3, 4).to(dtype)
    other = torch.zeros(3, 4)
    other[2, 3] = 1
    assert hash_tensor(tensor) == hash_tensor(tensor.clone())
    assert hash_tensor(tensor) != hash_tensor(other.to(dtype))


def test_dtype_and_shape_belong_to_the_hash() -> None:
    zeros = torch.zeros(4, dtype=torch.float16)
    different = [
        zeros,
        zeros.to(torch.bfloat16),
        zeros.reshape(2, 2),
        torch.zeros(0),
        torch.zeros(0, 3),
        torch.zeros(()),
    ]
    assert len({hash_tensor(tensor) for tensor in different}) == len(different)


def test_layout_in_memory_does_not_matter() -> None:
    tensor = torch.randn(2, 3, 4, 5)
    assert hash_tensor(tensor.contiguous(memory_format=torch.channels_last)) == hash_tensor(tensor)
    assert hash_tensor(torch.cat([tensor, tensor])[2:]) == hash_tensor(tensor)
    assert hash_tensor(tensor.requires_grad_()) == hash_tensor(tensor.detach())


def test_hash_is_the_same_in_one_piece_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.randn(1001)
    whole = hash_tensor(tensor)
    monkeypatch.setattr(module, "_PIECE_BYTES", 64)
    assert hash_tensor(tensor) == whole


def test_a_tensor_without_values_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="meta"):
        hash_tensor(torch.zeros(3, device="meta"))


def test_hash_of_a_module_sees_parameters_buffers_and_names() -> None:
    def norm() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.BatchNorm2d(3))

    same, weight, buffer = norm(), norm(), norm()
    assert hash_module(same) == hash_module(norm())
    weight[0].weight.data[1] += 1e-6  # type: ignore[index]
    buffer[0].running_mean[2] = 1e-6  # type: ignore[index]
    renamed = torch.nn.ModuleDict({"norm": torch.nn.BatchNorm2d(3)})
    assert len({hash_module(module) for module in (same, weight, buffer, renamed)}) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_hash_is_the_same_on_a_gpu() -> None:
    tensor = torch.randn(1000, 7).to(torch.bfloat16)
    assert hash_tensor(tensor.cuda()) == hash_tensor(tensor)


def test_what_is_hashed_is_hashed_in_one_place() -> None:
    package = Path(masactrl_video.__file__).parent
    assert [path.name for path in package.rglob("*.py") if "hashlib" in path.read_text()] == ["fingerprint.py"]


def test_the_hashes_of_earlier_versions_are_found_again(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_bytes(name.encode())
    digests = [hashlib.sha256(name.encode()) for name in ("first", "second")]
    assert [hash_file(tmp_path / "first"), hash_bytes(b"second")] == [digest.hexdigest() for digest in digests]
    together = hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()
    assert files_sha256([tmp_path / "first", tmp_path / "second"]) == together
    assert hash_json({"b": "ä", "a": None}) == hashlib.sha256(b'{"a": null, "b": "\\u00e4"}').hexdigest()
