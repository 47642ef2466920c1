"""Large weights are hashed once: what is remembered, what is hashed anew, and that nothing depends on the memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from diffusers import ModelMixin
from tiny_models import taesd

from masactrl_video.storage import fingerprint
from masactrl_video.storage.fingerprint import files_sha256, hash_module
from masactrl_video.storage.hash_memory import memory_path, remembered
from masactrl_video.storage.lock import lock_file

LONG_AGO = (1_700_000_000, 1_700_000_000)


@pytest.fixture(autouse=True)
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """All is large here, also every tensor; lists what is read from its first byte to its last."""
    monkeypatch.setenv("MASACTRL_VIDEO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprint, "LARGE_BYTES", 1)
    monkeypatch.setattr(fingerprint, "_SMALL_TENSOR_BYTES", 256)
    found: list[object] = []
    whole_file, whole_tensors = fingerprint.hash_file, fingerprint._hash_tensors

    def tensors(tensors: dict[str, torch.Tensor], hash_one: object) -> str:
        if hash_one is fingerprint.hash_tensor:
            found.append("tensors")
        return whole_tensors(tensors, hash_one)  # type: ignore[arg-type]

    monkeypatch.setattr(fingerprint, "hash_file", lambda path: found.append(path) or whole_file(path))
    monkeypatch.setattr(fingerprint, "_hash_tensors", tensors)
    yield found


def old_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    os.utime(path, LONG_AGO)
    return path


@pytest.fixture
def network(tmp_path: Path) -> ModelMixin:
    """A network that was read from a folder."""
    made = taesd()
    made.save_pretrained(tmp_path / "network")
    for path in (tmp_path / "network").glob("*.safetensors"):
        os.utime(path, LONG_AGO)
    return type(made).from_pretrained(tmp_path / "network")


def test_a_file_is_read_once_and_again_when_it_has_changed(tmp_path: Path, hashed: list[object]) -> None:
    path = old_file(tmp_path / "weights.onnx", b"one")
    first = files_sha256([path])
    assert (files_sha256([path]), len(hashed)) == (first, 1)
    old_file(path, b"two")
    os.utime(path, (LONG_AGO[0], LONG_AGO[1] + 1))
    assert files_sha256([path]) != first
    old_file(path, b"three")
    assert files_sha256([path]) != first
    assert len(hashed) == 3


def test_a_file_that_was_changed_just_now_is_not_remembered(tmp_path: Path, hashed: list[object]) -> None:
    (tmp_path / "new.onnx").write_bytes(b"new")
    assert files_sha256([tmp_path / "new.onnx"]) == files_sha256([tmp_path / "new.onnx"])
    assert len(hashed) == 2
    assert not memory_path().exists()


def test_a_file_of_the_hubs_cache_has_its_hash_for_a_name(tmp_path: Path, hashed: list[object]) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / digest).write_bytes(b"weights")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blobs" / digest)
    plain = old_file(tmp_path / "plain.safetensors", b"weights")
    assert files_sha256([tmp_path / "model.safetensors"]) == files_sha256([plain])
    assert hashed == [plain]


def test_a_network_is_hashed_once_in_whichever_process(network: ModelMixin, tmp_path: Path, hashed: list) -> None:
    first = hash_module(network)
    again = type(network).from_pretrained(tmp_path / "network")
    assert (hash_module(again), hashed) == (first, ["tensors"])
    assert first == fingerprint._hash_tensors(dict(sorted(network.state_dict().items())), fingerprint.hash_tensor)


@pytest.mark.parametrize("what", ["weights in memory", "number format", "a file", "a new layer"])
def test_a_network_that_is_another_is_hashed_anew(
    what: str, network: ModelMixin, tmp_path: Path, hashed: list[object]
) -> None:
    first = hash_module(network)
    if what == "weights in memory":
        next(network.parameters()).data.mul_(1.5)  # as a LoRA does that is merged: torch does not count it
    elif what == "number format":
        network.to(torch.float16)
    elif what == "a new layer":
        network.register_buffer("extra", torch.zeros(2))
    else:
        os.utime(next((tmp_path / "network").glob("*.safetensors")))
    assert (hash_module(network) == first) == (what == "a file")
    assert len(hashed) == 2


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": 3', b"\xff\xfe"])
def test_a_memory_that_is_lost_or_damaged_costs_only_time(content: bytes, tmp_path: Path, hashed: list[object]) -> None:
    path = old_file(tmp_path / "weights.onnx", b"one")
    first = files_sha256([path])
    memory_path().write_bytes(content)
    assert files_sha256([path]) == first
    assert len(hashed) == 2
    assert files_sha256([path]) == first
    assert len(hashed) == 2


def test_where_it_cannot_be_written_the_hash_is_computed(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert remembered("key", lambda: "value") == "value"


def test_many_at_once_lose_nothing_that_is_wrong(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: remembered(str(n % 5), lambda: f"hash {n % 5}"), range(200)))
    known = json.loads(memory_path().read_text())
    assert known and all(value == f"hash {key}" for key, value in known.items())
    assert [path.name for path in memory_path().parent.iterdir()] == ["hashes.json"]


def test_while_another_process_writes_it_nobody_waits(tmp_path: Path) -> None:
    remembered("first", lambda: "1")
    held = lock_file(memory_path().with_name(".hashes.json.lock"), "writes")
    assert remembered("second", lambda: "2") == "2"
    assert held is not None
    held.close(remove=True)
    assert json.loads(memory_path().read_text()) == {"first": "1"}
