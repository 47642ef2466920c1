"""A cached source is fed to the model one step ahead, and nothing is lost or changed on the way."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from masactrl_video.attention.recorded import StepRecord
from masactrl_video.cache.feed import reading_ahead, source_bytes
from masactrl_video.cache.index import CacheDamaged
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.cache.store import CacheWriter, open_entry

STEPS = (1, 2, 4)


@pytest.fixture
def source(root: Path, new_writer: Callable[..., CacheWriter]) -> CachedSource:
    with new_writer(root) as writer:
        for step in STEPS:
            generator = torch.Generator().manual_seed(step)
            states = {f"layer.{kind}": torch.randn(2, 6, 4, generator=generator) for kind in ("key", "value")}
            writer.write_step(step, states | {"object_map": torch.rand(3, 5, generator=generator)})
        writer.write("source", {"latents": torch.zeros(1)})
    entry = open_entry(root, writer.fingerprint)
    assert entry is not None
    return CachedSource(entry, torch.device("cpu"))


def same(one: StepRecord, other: StepRecord) -> bool:
    pairs = [(one.keys, other.keys), (one.values, other.values)]
    assert one.object_map is not None
    assert other.object_map is not None
    same_map = torch.equal(one.object_map, other.object_map)
    return same_map and all(torch.equal(a["layer"], b["layer"]) for a, b in pairs)


def whole_source(source: CachedSource) -> int:
    return source_bytes(source, STEPS)


@pytest.mark.parametrize("spare_bytes", [None, -1, 0])
def test_what_is_fed_is_what_is_on_the_disk(source: CachedSource, spare_bytes: int | None) -> None:
    memory = 0 if spare_bytes is None else whole_source(source) + spare_bytes
    with reading_ahead(source, STEPS * 3, memory) as feed:
        for step in STEPS * 3:
            assert same(feed.read(step), source.read(step))
    fits = spare_bytes == 0
    assert feed.figures() | {"waited_seconds": 0} == {
        "held_in_memory": fits,
        "steps_read": len(STEPS) * (1 if fits else 3),
        "waited_seconds": 0,
    }


def test_steps_that_do_not_come_again_are_not_held(source: CachedSource) -> None:
    with reading_ahead(source, STEPS, whole_source(source)) as feed:
        assert not feed.is_held


def test_another_order_than_was_said_is_right_too(source: CachedSource) -> None:
    with reading_ahead(source, STEPS) as feed:
        for step in (4, 4, 1, 2, 1):
            assert same(feed.read(step), source.read(step))


def test_nothing_is_read_where_nothing_will_be_asked_for(source: CachedSource) -> None:
    with reading_ahead(source, ()) as feed:
        pass
    assert feed.reads == 0


def test_the_next_step_is_read_while_the_model_works(source: CachedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = {step: threading.Event() for step in STEPS}
    read = CachedSource.read

    def noted(self: CachedSource, step: int) -> StepRecord:
        assert threading.current_thread() is not threading.main_thread()
        begun[step].set()
        return read(self, step)

    monkeypatch.setattr(CachedSource, "read", noted)
    with reading_ahead(source, STEPS) as feed:
        assert begun[1].wait(10)
        feed.read(1)
        assert begun[2].wait(10)
        assert not begun[4].is_set()  # one step, not all of them


def test_damage_raises_where_the_step_is_asked_for(source: CachedSource) -> None:
    path = source.entry.folder / "step-0002.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CacheDamaged, match="changed while in use"), reading_ahead(source, STEPS) as feed:
        feed.read(1)
        feed.read(2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cache")]


def test_ctrl_c_is_obeyed_while_a_step_is_awaited(source: CachedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, read = threading.Event(), CachedSource.read

    def slow(self: CachedSource, step: int) -> StepRecord:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
            may_end.wait(10)
        return read(self, step)

    monkeypatch.setattr(CachedSource, "read", slow)
    with reading_ahead(source, STEPS) as feed:
        with pytest.raises(KeyboardInterrupt):
            for step in (1, 2):
                feed.read(step)
        may_end.set()
