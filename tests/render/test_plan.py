"""A plan as JSON is all that another process needs: it writes the same bits, and one that does not fit is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image
from video.made_clips import make_clip

import masactrl_video
from masactrl_video.errors import UserError
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.progress import Cancelled
from masactrl_video.render.executor import Executor, LocalExecutor
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.worker import ChunkWorker, open_job, run_chunk
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.storage.fingerprint import hash_file

RUN = """
import sys
from pathlib import Path
from masactrl_video.render.plan import RenderPlan
from masactrl_video.render.worker import run_chunk
plan = RenderPlan.from_json(Path(sys.argv[1]).read_text(), base=Path(sys.argv[2]))
for chunk in plan.chunks:
    print(run_chunk(plan, chunk).model_dump_json())
"""


@dataclass
class Rendered:
    """A run in this process, and the plan that it went by."""

    folder: Path
    """With the clip, the cache and the outputs."""
    outputs: Outputs
    plan: RenderPlan
    model: DiffusionModel

    def moved(self, to: Path) -> Path:
        """A copy of the folder elsewhere, without the frames, and with the plan in it."""
        shutil.copytree(self.folder, to)
        for made in (to / "out" / "frames", to / "out" / "masks"):
            shutil.rmtree(made, ignore_errors=True)
        (to / "plan.json").write_text(self.plan.to_json(base=self.folder))
        return to


def rendered_in(folder: Path, **changes: Any) -> Rendered:
    """3 frames of 48x48 in batches of 2 and chunks of 2, with 2 steps of the demo model."""
    folder.mkdir()
    short = {"clip": make_clip(folder / "clip.mp4", size="48x48", frame_rate="10", seconds=0.4), "frame_load_cap": 3}
    short |= {"cache_dir": folder / "cache", "num_inference_steps": 2, "masa_step": 1, "side_by_side": False}
    settings = resolve({**read_preset("demo"), **short, "batch_size": 2, "chunk_frames": 2}, changes)
    model, plans = model_from_settings(settings), []

    def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> AbstractContextManager[Executor]:
        plans.append(plan)
        return LocalExecutor(plan, job, progress)

    outputs = render_clip(settings, folder / "out.mp4", model=model, executor=start)
    return Rendered(folder, outputs, plans[0], model)


@pytest.fixture(scope="module")
def by_source(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return rendered_in(tmp_path_factory.mktemp("source") / "run")


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("[fm]*s/*.png"))}


def in_a_fresh_process(moved: Path) -> list[dict[str, Any]]:
    own = {"PYTHONPATH": str(Path(masactrl_video.__file__).parents[1]), "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-c", RUN, str(moved / "plan.json"), str(moved)]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=moved.parent, env={**os.environ, **own})
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.long
@pytest.mark.parametrize("way", ["source", "masked", "two guidances"])
def test_a_fresh_process_writes_the_same_bits_below_another_folder(
    way: str, by_source: Rendered, tmp_path: Path
) -> None:
    masked = {"attention_mode": "masked", "mask_words": ["bear"], "save_masks": True}
    two = {"guidance": ["canny", "depth"], "guidance_video": {"depth": tmp_path / "depth"}}
    if way == "two guidances":
        (tmp_path / "depth").mkdir()
        for number in range(3):
            Image.fromarray(np.full((48, 48, 3), 60 * number, np.uint8)).save(tmp_path / f"depth/{number}.png")
        two["controls"] = {
            **read_preset("demo")["controls"],
            "depth": {"kind": "depth", "adapter": "controlnet", "model": "demo/controlnet-canny", "scale": 0.5},
        }
    changes = {"source": {}, "masked": masked, "two guidances": two}[way]
    run = rendered_in(tmp_path / "run", **changes) if changes else by_source
    moved = run.moved(tmp_path / "elsewhere")
    results = in_a_fresh_process(moved)
    assert pictures(moved / "out") == pictures(run.outputs.folder)
    assert len(pictures(moved / "out")) == (6 if way == "masked" else 3)
    files = {file["path"]: file["sha256"] for result in results for file in result["files"]}
    assert files == {str(path): hash_file(path) for path in moved.glob("out/[fm]*s/*.png")}
    assert [result["frames_rendered"] for result in results] == [2, 1]
    report = json.loads(run.outputs.report.read_text())["render"]
    told = [result["attention"]["controlled_attention_calls"] for result in results]
    assert sum(told) == report["attention"]["controlled_attention_calls"] > 0
    assert min(share for result in results for share in result["source_shares"].values()) == pytest.approx(
        report["lowest_source_share"], abs=1e-6
    )


def test_a_plan_comes_back_from_json(by_source: Rendered) -> None:
    plan = by_source.plan
    assert RenderPlan.from_json(plan.to_json()) == plan
    moved = RenderPlan.from_json(plan.to_json(base=by_source.folder), base=Path("/elsewhere"))
    assert moved.picture(1) == Path("/elsewhere/out/frames/000001.png")
    assert moved.settings.clip == Path("/elsewhere/clip.mp4")
    assert moved.sources[0].folder.is_relative_to("/elsewhere/cache")
    assert (moved.settings.model, moved.settings.controls["canny"].model) == ("demo", "demo/controlnet-canny")
    assert [chunk.batches for chunk in plan.chunks] == [((0, 2),), ((2, 3),)]


def changed(text: str, **values: Any) -> str:
    return json.dumps(json.loads(text) | values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:100], "plan: it is not JSON"),
        (lambda text: "[]", "plan: its schema_version is None, here it is 1"),
        (lambda text: changed(text, schema_version=0), "plan: its schema_version is 0, here it is 1"),
        (lambda text: changed(text, frames=1), "plan: it is wrong at the top: .*are not in the clip"),
        (lambda text: changed(text, surprise=1), "plan: it is wrong at surprise"),
        (lambda text: changed(text, pictures="frames"), "plan: it is wrong at pictures: .* is no absolute path"),
        (lambda text: changed(text, pictures="./frames"), "plan: it is wrong at pictures: .*and none is given"),
        (lambda text: changed(text, chunks=[{"batches": [[0, 2]]}] * 2), "frames 0 to 1 overlap"),
        (
            lambda text: changed(text, sources=json.loads(text)["sources"] * 2),
            r"their frames are \[0, 0\], and must rise",
        ),
        (lambda text: changed(text, sources=[]), "plan: it is wrong at sources"),
    ],
)
def test_a_damaged_plan_is_refused_in_one_line(change: Callable[[str], str], message: str, by_source: Rendered) -> None:
    with pytest.raises(UserError, match=message) as refused:
        RenderPlan.from_json(change(by_source.plan.to_json()))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["made_from"].update(torch="1.0"), "plan: it was made by torch 1.0, here is "),
        (lambda data: data["sources"][0].update(folder="/none/" + "0" * 32), "is not in /none; make it anew"),
        (lambda data: data["sources"][0].update(content="0"), "was recorded anew with other numbers"),
        (lambda data: data["controls"][0].update(key="another"), "holds other pictures than those"),
        (lambda data: data["settings"].update(prompt="a frog"), "another here than where it was made"),
        (lambda data: data["settings"].update(masa_layer=11), "its steps or layers are not those"),
        (lambda data: data["settings"].update(dtype="bfloat16"), "recorded by another model: the dtype differs"),
    ],
)
def test_a_plan_of_something_else_is_refused_in_one_line(
    change: Callable[[Any], None], message: str, by_source: Rendered
) -> None:
    data = json.loads(by_source.plan.to_json())
    change(data)
    plan = RenderPlan.from_json(json.dumps(data))
    model = None if "dtype" in message else by_source.model
    with pytest.raises(UserError, match=message) as refused:
        run_chunk(plan, plan.chunks[0], model)
    assert "\n" not in str(refused.value)


def test_whole_pictures_are_kept_and_damaged_ones_made_again(by_source: Rendered, tmp_path: Path) -> None:
    moved = by_source.moved(tmp_path / "run")
    plan = RenderPlan.from_json((moved / "plan.json").read_text(), base=moved)
    with ChunkWorker(plan, by_source.model) as worker:
        first = [worker.run(chunk) for chunk in plan.chunks]
        times = {path: path.stat().st_mtime_ns for path in moved.glob("out/frames/*")}
        again = [worker.run(chunk) for chunk in plan.chunks]
        assert [result.files for result in again] == [result.files for result in first]
        assert [result.frames_rendered for result in again] == [0, 0]
        plan.picture(1).write_bytes(plan.picture(1).read_bytes()[:-30])
        assert worker.run(plan.chunks[0]).files == first[0].files
        assert {path for path, time in times.items() if path.stat().st_mtime_ns != time} == {plan.picture(1)}
        with pytest.raises(UserError, match="it has no chunk of frames"):
            worker.run(plan.chunks[0].model_copy(update={"batches": ((0, 1),)}))


def test_control_pictures_that_come_later_are_waited_for(by_source: Rendered, tmp_path: Path) -> None:
    moved = by_source.moved(tmp_path / "run")
    plan = RenderPlan.from_json((moved / "plan.json").read_text(), base=moved)
    (folder := plan.controls[0].folder).rename(aside := moved / "aside")
    with pytest.raises(UserError, match="no guidance there"):
        ChunkWorker(plan, by_source.model)
    found: list[object] = []
    waits = Thread(target=lambda: found.append(ChunkWorker(plan, by_source.model, wait_seconds=120)))
    waits.start()
    waits.join(0.3)
    assert waits.is_alive()
    aside.rename(folder)
    waits.join()
    assert len(found) == 1


def test_a_local_executor_that_is_cancelled_leaves_whole_pictures_and_goes_on(
    by_source: Rendered, tmp_path: Path
) -> None:
    moved = by_source.moved(tmp_path / "run")
    plan = RenderPlan.from_json((moved / "plan.json").read_text(), base=moved)
    job = open_job(plan, by_source.model)

    def results(executor: LocalExecutor) -> Iterator[object]:
        with executor:
            yield from executor.map_unordered(plan.chunks)

    steps: list[int] = []

    def cancel(progress: Any) -> None:
        steps.append(progress.frame)
        if progress.frame == 2:
            (thread := Thread(target=stopped.cancel)).start()
            thread.join()

    stopped = LocalExecutor(plan, job, RenderSteps(3, 3, 2, cancel))
    with pytest.raises(Cancelled):
        list(results(stopped))
    assert [path.name for path in sorted(plan.pictures.iterdir())] == ["000000.png", "000001.png"]
    assert len(list(results(LocalExecutor(plan, job)))) == 2
    assert pictures(moved / "out") == pictures(by_source.outputs.folder)
