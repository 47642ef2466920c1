"""What a worker does with a letter, in this process: it sees nothing of the owner's disk, and makes the same bits."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video.made_clips import make_clip

from masactrl_video.engines.node import NodeWorker
from masactrl_video.engines.parcel import Parcels
from masactrl_video.errors import UserError
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.render.executor import Executor, LocalExecutor
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import ChunkResult, RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.settings.settings import Settings


def short_settings(folder: Path, seconds: float = 0.5, **changes: Any) -> Settings:
    """4 frames of 48x48 in batches and chunks of 2, with 2 steps of the demo model."""
    short = {
        "clip": make_clip(folder / "clip.mp4", size="48x48", frame_rate="10", seconds=seconds),
        "frame_load_cap": 4,
    }
    short |= {"cache_dir": folder / "cache", "num_inference_steps": 2, "masa_step": 1, "side_by_side": False}
    return resolve({**read_preset("demo"), **short, "batch_size": 2, "chunk_frames": 2}, changes)


@dataclass
class Rendered:
    plan: RenderPlan
    pictures: dict[str, bytes]


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """A run in this process along two sources, whose frames and masks are away again."""
    folder, plans = tmp_path_factory.mktemp("run"), list[RenderPlan]()

    def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> AbstractContextManager[Executor]:
        plans.append(plan)
        return LocalExecutor(plan, job, progress)

    sources = {"0": "generated", "2": "generated"}
    settings = short_settings(folder, attention_mode="masked", mask_words=["bear"], save_masks=True, sources=sources)
    render_clip(settings, folder / "out.mp4", executor=start)
    return Rendered(plans[0], taken_away(plans[0]))


def taken_away(plan: RenderPlan) -> dict[str, bytes]:
    """What was made of the plan, which is not there any more."""
    found = {}
    for made in filter(None, (plan.pictures, plan.masks)):
        found |= {f"{made.name}/{path.name}": path.read_bytes() for path in made.iterdir()}
        shutil.rmtree(made)
    return found


@pytest.fixture
def node_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of a node."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    for said in logging.getLogger("masactrl_video").handlers[:]:
        logging.getLogger("masactrl_video").removeHandler(said)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_worker_that_sees_nothing_of_the_owners_disk_makes_the_same_bits(masked: Rendered, node_folder: Path) -> None:
    plan, fetched = masked.plan, list[int]()

    def fetch(content: Any) -> Any:
        fetched.append(len(content))
        return content

    parcels = Parcels(plan, storage=None, everything_is_seen=False)
    with parcels.letter(lambda content: content) as letter:
        away = [part.folder for part in (*plan.sources, *plan.controls)]
        workers = [NodeWorker(letter, fetch, quiet=False) for _ in range(2)]
        sent = [parcels.pictures_for(chunk) for chunk in plan.chunks]
        for path in away:
            path.rename(path.with_name(f"{path.name}.away"))
        try:
            assert [worker.begin() for worker in workers] == [("ok",), ("ok",)]
            once = sum(fetched)
            answers = [
                worker.run(chunk.model_dump_json(), pictures)
                for worker, chunk, pictures in zip(workers, plan.chunks, sent, strict=True)
            ]
        finally:
            for path in away:
                path.with_name(f"{path.name}.away").rename(path)
    sources = [path for source in plan.sources for path in files_below(source.folder)]
    assert once == sum(path.stat().st_size for path in sources)  # for both workers
    assert not plan.pictures.exists() or not any(plan.pictures.iterdir())
    for kind, result, files, warnings in answers:
        assert (kind, warnings) == ("ok", [])
        placed = parcels.arrived(ChunkResult.model_validate(json.loads(result)), files)
        assert all(file.path.is_relative_to(plan.pictures.parent) for file in placed.files)
    assert taken_away(plan) == masked.pictures
    assert workers[0].steps() == ("ok", 0, 0, 0)
    for worker in workers:
        worker.leave()
    assert files_below(node_folder) == []


def test_files_that_came_as_others_than_were_sent_are_refused(masked: Rendered, node_folder: Path) -> None:
    plan = masked.plan
    parcels = Parcels(plan, storage=None, everything_is_seen=False)
    with parcels.letter(lambda content: content) as letter:
        worker = NodeWorker(letter, lambda content: content, quiet=False)
        kind, result, files, _ = worker.run(plan.chunks[0].model_dump_json(), parcels.pictures_for(plan.chunks[0]))
    assert kind == "ok"
    with pytest.raises(UserError, match="it arrived as another than was sent"):
        parcels.arrived(ChunkResult.model_validate(json.loads(result)), dict.fromkeys(files, b"0"))
    worker.leave()
    assert not plan.pictures.exists() or not any(plan.pictures.iterdir())


def test_what_lies_in_the_storage_folder_is_not_sent(masked: Rendered, tmp_path: Path) -> None:
    plan, put = masked.plan, list[int]()
    storage = plan.pictures.parents[1]
    with Parcels(plan, storage=storage, everything_is_seen=False).letter(lambda array: put.append(array)) as letter:
        assert (letter["sources"], letter["indices"], letter["files_back"]) == (None, None, False)
        worker = NodeWorker(letter, lambda content: content, quiet=False)
        assert worker.run(plan.chunks[0].model_dump_json(), {})[0] == "ok"
        assert len(list(plan.pictures.iterdir())) == 2
        taken_away(plan)
        for mark in storage.glob(".masactrl-video-*"):
            mark.write_text("another's")
        refused = NodeWorker(letter, lambda content: content, quiet=False).begin()
    assert refused[0] == "node"
    assert "the folder of --storage" in refused[1] and "\n" not in refused[1]
    assert put == []
    assert list(storage.glob(".masactrl-video-*")) == []


def test_what_a_node_lacks_is_the_nodes_fault_in_one_line(masked: Rendered) -> None:
    plan = masked.plan
    settings = plan.settings.model_copy(update={"model": "/none"})
    parcels = Parcels(plan.model_copy(update={"settings": settings}), storage=None, everything_is_seen=True)
    with parcels.letter(np.asarray) as letter:
        kind, message = NodeWorker(letter, bytes, quiet=False).begin()
        assert kind == "node" and "/none" in message and "\n" not in message
        other = {**letter, "plan": json.dumps(json.loads(letter["plan"]) | {"schema_version": 0})}
        kind, message = NodeWorker(other, bytes, quiet=False).begin()
        assert (kind, "its schema_version is 0" in message) == ("node", True)
