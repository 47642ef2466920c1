"""An entry comes back bit for bit, and there is a whole one or none."""

import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import masactrl_video
from masactrl_video.cache.store import CacheWriter, open_entry
from masactrl_video.errors import UserError

WriteEntry = Callable[..., str]
NewWriter = Callable[..., CacheWriter]


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int64]
)
def test_tensors_come_back_bit_for_bit(root: Path, new_writer: NewWriter, dtype: torch.dtype) -> None:
    noise = torch.randint(0, 2, (3, 16)) if dtype == torch.bool else torch.randint(0, 256, (3, 16 * 8))
    tensor = noise.to(dtype) if dtype == torch.bool else noise.to(torch.uint8).view(dtype)  # NaN patterns included
    tensors = {"a": tensor, "scalar": tensor[0, 0].clone(), "empty": tensor[:0]}
    with new_writer(root) as writer:
        writer.write_step(0, tensors)
    entry = open_entry(root, writer.fingerprint)
    assert entry
    read = entry.read_step(0)
    assert read.keys() == tensors.keys()
    for name, expected in tensors.items():
        assert (read[name].dtype, read[name].shape) == (dtype, expected.shape)
        assert torch.equal(read[name].reshape(-1).view(torch.uint8), expected.reshape(-1).view(torch.uint8))


def test_views_of_one_tensor_are_stored_apart(root: Path, new_writer: NewWriter) -> None:
    both = torch.randn(4, 6, 8)
    unconditional, conditional = both.chunk(2)
    with new_writer(root) as writer:
        writer.write_step(0, {"u": unconditional, "c": conditional, "t": both.transpose(1, 2)})
    entry = open_entry(root, writer.fingerprint)
    assert entry
    read = entry.read_step(0)
    assert torch.equal(torch.cat([read["u"], read["c"]]), both)
    assert torch.equal(read["t"], both.transpose(1, 2))


def test_index_says_what_the_entry_holds(root: Path, new_writer: NewWriter) -> None:
    settings = {"prompt": "a bear – ein Bär", "scale": 1e22, "tiny": 5e-324, "third": 1 / 3, "eta": -0.0, "big": 2**70}
    with new_writer(root, **settings) as writer:
        writer.write_step(4, {"k": torch.zeros(2, 3, dtype=torch.bfloat16)})
        writer.write_step(1, {"k": torch.zeros(2, 3, dtype=torch.bfloat16)})
    entry = open_entry(root, writer.fingerprint)
    assert entry
    assert entry.index.determined_by == settings
    assert entry.index.steps == (1, 4)
    assert entry.index.timesteps == (801, 601, 401, 201, 1)
    assert entry.index.created.utcoffset().total_seconds() == 0  # type: ignore[union-attr]
    tensor = entry.index.files["step-0004.safetensors"].tensors["k"]
    assert (tensor.dtype, tensor.shape) == ("BF16", (2, 3))
    assert names(entry.folder) == ["index.json", "index.sha256", "step-0001.safetensors", "step-0004.safetensors"]


def test_absent_entry_is_none_and_other_names_are_refused(root: Path, tmp_path: Path) -> None:
    assert open_entry(root, "0" * 32) is None
    (tmp_path / "outside").mkdir()
    for name in ("../outside", "", ".", "A" * 32, "0" * 31):
        with pytest.raises(UserError, match="not the id of a cache entry"):
            open_entry(root, name)


def test_what_is_not_stored_cannot_be_read(root: Path, write_entry: WriteEntry) -> None:
    entry = open_entry(root, write_entry())
    assert entry
    with pytest.raises(KeyError, match=r"step-0001\.safetensors is not among .*step-0002"):
        entry.read_step(1)


def test_exception_in_the_middle_leaves_nothing(root: Path, new_writer: NewWriter) -> None:
    with pytest.raises(KeyboardInterrupt), new_writer(root) as writer:
        writer.write_step(0, {"k": torch.zeros(3)})
        assert len(names(root)) == 1
        raise KeyboardInterrupt
    assert names(root) == []


def test_failure_at_the_last_moment_leaves_nothing(
    root: Path, new_writer: NewWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match=r"Input/output error.*MASACTRL_VIDEO_CACHE"), new_writer(root) as writer:
        writer.write_step(0, {"k": torch.zeros(3)})
    assert names(root) == []


def test_a_step_outside_the_schedule_is_never_stored(root: Path, new_writer: NewWriter) -> None:
    with pytest.raises(ValueError, match="rising indices of the 5 timesteps"), new_writer(root) as writer:
        writer.write_step(5, {"k": torch.zeros(3)})
    assert names(root) == []


def test_the_process_that_finishes_first_wins(root: Path, new_writer: NewWriter) -> None:
    with new_writer(root) as slow:
        slow.write_step(0, {"k": torch.full((3,), 1.0)})
        with new_writer(root) as fast:
            fast.write_step(0, {"k": torch.full((3,), 2.0)})
    assert names(root) == [fast.fingerprint]
    entry = open_entry(root, fast.fingerprint)
    assert entry
    assert torch.equal(entry.read_step(0)["k"], torch.full((3,), 2.0))


KILLED_IN_THE_MIDDLE = """
import sys, time
from pathlib import Path
import torch
from masactrl_video.cache.store import CacheWriter
writer = CacheWriter(
    Path(sys.argv[1]), {"seed": 1}, branches=["shared"], timesteps=[801, 601], layers=["layer"], expected_bytes=9
)
with writer:
    writer.write_step(0, {"k": torch.ones(3)})
    print("written", flush=True)
    time.sleep(60)
"""


def test_killed_process_leaves_no_entry_and_the_next_one_works(
    root: Path, tmp_path: Path, write_entry: WriteEntry
) -> None:
    where = {"PYTHONPATH": str(Path(masactrl_video.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(root)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **where},
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "written\n"
        alive = names(root)
        other = write_entry(seed=2)  # another writer leaves the living one alone
        assert names(root) == sorted([*alive, other])
        process.send_signal(signal.SIGKILL)
    assert len(alive) == 1
    assert alive[0].startswith(".")
    name = write_entry(seed=1)
    assert names(root) == sorted([name, other])
    assert open_entry(root, name)


def test_too_little_space_is_said_before_anything_is_written(root: Path, new_writer: NewWriter) -> None:
    with (
        pytest.raises(UserError, match=r"needs 1000000000000\.0 MB in .* MB are free: .*MASACTRL_VIDEO_CACHE"),
        new_writer(root, expected_bytes=10**18),
    ):
        pytest.fail("the block must not run")
    assert names(root) == []


def test_space_that_just_suffices_is_enough(root: Path, new_writer: NewWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(9000, 8000, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with new_writer(root, expected_bytes=1000) as writer:
        writer.write_step(0, {"k": torch.zeros(3)})
    with pytest.raises(UserError, match=r"0\.0 MB are free"), new_writer(root, expected_bytes=1001):
        pytest.fail("the block must not run")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, new_writer: NewWriter) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot write the cache in .*MASACTRL_VIDEO_CACHE"),
        new_writer(tmp_path / "file"),
    ):
        pytest.fail("the block must not run")


def test_touch_notes_the_last_use(root: Path, write_entry: WriteEntry) -> None:
    entry = open_entry(root, write_entry())
    assert entry
    os.utime(entry.folder / "index.json", (1, 1))
    entry.touch()
    assert (entry.folder / "index.json").stat().st_mtime > 1e9
    assert open_entry(root, entry.index.fingerprint)
