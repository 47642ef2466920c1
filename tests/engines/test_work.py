"""Grids, comics and evaluations done elsewhere: a worker in this process, which sees nothing of the owner's disk."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import masactrl_video
from masactrl_video.cli.main import main
from masactrl_video.engines.node_work import WorkWorker
from masactrl_video.engines.parcel import sent_source
from masactrl_video.engines.work import Work, WorkLetter, weights_in
from masactrl_video.evaluate.evaluate import evaluate
from masactrl_video.evaluate.measure import Evaluation, Measured
from masactrl_video.jobs.comic.comic import render_comic
from masactrl_video.jobs.sweep import sweep
from masactrl_video.model.backbones.controls import NetworkChoice
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.load import load_model
from masactrl_video.page.story_file import read_story
from masactrl_video.settings.presets import read_preset
from masactrl_video.settings.stills import resolve_stills

SHORT = {"num_inference_steps": 2, "masa_step": 1}
STORY = {
    "settings": SHORT,
    "layout": [[1, 1]],
    "page": {"width": 300, "height": 160, "margin": 10, "gutter": 10},
    "characters": {"bear": {"prompt": "a bear in a red shirt", "size": [64, 64]}},
    "panels": [
        {"prompt": "a bear in a red shirt waving", "pose": "waving", "size": [64, 64]},
        {"prompt": "[NC] in the snow", "size": [64, 64]},
    ],
}


class Travelled:
    """A content as it is on its way."""

    def __init__(self, content: object) -> None:
        self.content = pickle.dumps(content)


def fetch(content: Any) -> Any:
    return pickle.loads(content.content) if isinstance(content, Travelled) else content


class Elsewhere:
    """Does every number by a worker of its own, the last one first."""

    def __init__(self) -> None:
        self.letters = 0
        self.warnings: list[str] = []

    def __call__(self, work: Work[Any], numbers: Sequence[int], here: object) -> Iterator[tuple[int, Any]]:
        letter = WorkLetter(
            version=masactrl_video.__version__,
            work=Travelled(work),
            run=f"{id(self):032x}",
            threads=1,
            sources=[sent_source(path, lambda content: content.tobytes()) for path in work.sources],
        )
        self.letters += 1
        worker = WorkWorker(vars(letter), fetch, quiet=False)
        try:
            for number in reversed(numbers):
                kind, result, *rest = worker.run(number)
                assert kind == "ok", result
                self.warnings += rest[1]
                yield number, result
        finally:
            worker.leave()

    def weights(self, model: DiffusionModel) -> dict[str, str]:
        return weights_in(model)

    def figures(self) -> dict[str, Any]:
        return {"engine": "elsewhere"}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Elsewhere]:
    def used_by(module: str) -> Elsewhere:
        worker = Elsewhere()

        @contextmanager
        def each_of(settings: object) -> Iterator[Elsewhere]:
            yield worker

        monkeypatch.setattr(f"{module}.each_of", each_of)
        return worker

    return used_by


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


@pytest.mark.long
def test_the_cells_of_a_grid_are_the_same_made_elsewhere(elsewhere: Callable[[str], Elsewhere], tmp_path: Path) -> None:
    grid = {"rows": "masa_layer=4,10", "columns": "seed=1,2", "width": 64, "height": 64, "cache_dir": tmp_path / "c"}
    settings = resolve_stills({**read_preset("demo"), **SHORT}, {"prompts": ["a bear in the meadow"], **grid})
    here = sweep(settings, tmp_path / "here")
    elsewhere("masactrl_video.jobs.sweep")
    there = sweep(settings, tmp_path / "there")
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert [cell.path.name for cell in here] == [cell.path.name for cell in there]
    assert len({cell.path.read_bytes() for cell in there}) == 4
    assert {cell.source_path.name for cell in there} == {"source-1.png", "source-2.png"}


@pytest.mark.long
def test_a_grid_goes_on_with_the_cells_that_are_there(elsewhere: Callable[[str], Elsewhere], tmp_path: Path) -> None:
    grid = {"columns": "masa_layer=4,10", "width": 64, "height": 64, "cache_dir": tmp_path / "c"}
    settings = resolve_stills({**read_preset("demo"), **SHORT}, {"prompts": ["a bear"], **grid})

    def stop(cells: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(settings, tmp_path / "grid", measure=stop)
    (tmp_path / "grid" / "target-row1-column2.png").unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "grid").glob("target*")}
    worker, told = elsewhere("masactrl_video.jobs.sweep"), list[dict[str, Any]]()
    sweep(settings, tmp_path / "grid", tell=told.append)
    assert worker.letters == 1
    assert [event["picture"] for event in told if "picture" in event] == [2]
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_the_panels_of_a_comic_are_the_same_made_elsewhere(
    elsewhere: Callable[[str], Elsewhere], tmp_path: Path
) -> None:
    story = tmp_path / "story.yaml"
    story.write_text(yaml.safe_dump(STORY))
    changes = {"cache_dir": tmp_path / "c"}
    render_comic(read_story(story), story, tmp_path / "here.png", changes=changes)
    elsewhere("masactrl_video.jobs.comic.comic")
    render_comic(read_story(story), story, tmp_path / "there.png", changes=changes)
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()


@pytest.mark.long
def test_cases_are_joined_in_their_order(
    elsewhere: Callable[[str], Elsewhere], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(self: Evaluation, case: Any, *, curves: bool) -> Measured:
        return Measured({"error": [float(case.seed)]}, [[np.zeros((8, 8, 3), np.uint8)]])

    monkeypatch.setattr(Evaluation, "measure", measure)
    for name in ("as_markdown", "sheet", "write_results"):
        monkeypatch.setattr(f"masactrl_video.evaluate.evaluate.{name}", lambda *a: seen.append(a[0]) or "")
    seen: list[Any] = []

    def run(folder: Path) -> list[float]:
        seen.clear()
        evaluate(folder, model="demo", cases=3, world="small", curves=False, overwrite=False)
        return seen[0].values["error"]

    here = run(tmp_path / "here")
    elsewhere("masactrl_video.evaluate.evaluate")
    assert run(tmp_path / "there") == here
    assert len(set(here)) == 3


def test_a_worker_with_another_model_says_which_part_differs() -> None:
    network = NetworkChoice("pose", "controlnet", "demo/controlnet-pose")
    model = load_model("demo", networks=[network])
    weights = weights_in(model)
    assert {"unet", "vae", "text_encoder", "control pose"} <= weights.keys()
    work = Different(weights | {"unet": "other"})
    letter = WorkLetter(version="", work=Travelled(work), run="0" * 32, threads=1, sources=[])
    worker = WorkWorker(vars(letter), fetch, quiet=False)
    assert worker.begin() == (
        "node",
        "its model is another than the owner's: the unet differs; give all nodes the same files",
    )
    worker.leave()


class Different:
    """A work whose owner has other weights."""

    sources = ()

    def __init__(self, weights: dict[str, str]) -> None:
        self.weights = weights

    def open(self, sources: Sequence[Path]) -> Callable[[int], int]:
        from masactrl_video.engines.work import check_weights

        check_weights(
            load_model("demo", networks=[NetworkChoice("pose", "controlnet", "demo/controlnet-pose")]), self.weights
        )
        return lambda number: number


def test_a_worker_without_the_recorded_source_says_where_it_should_be(tmp_path: Path) -> None:
    letter = WorkLetter(
        version="", work=Travelled(OneSource()), run="0" * 32, threads=1, sources=[str(tmp_path / "gone")]
    )
    kind, said = WorkWorker(vars(letter), fetch, quiet=False).begin()
    assert kind == "node"
    assert said.startswith(f"the recorded source is not there: {tmp_path / 'gone'}; give --storage")


class OneSource:
    """A work that reads a source."""

    sources = (Path("x"),)

    def open(self, sources: Sequence[Path]) -> Callable[[int], int]:
        return lambda number: number


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--workers", "2"], "workers belongs to engine ray"),
        (["--engine", "ray", "--panels"], "--engine: --panels runs in this process; leave it out"),
        (["--engine", "ray", "--storage", "/nowhere/at/all"], "storage: no such folder"),
    ],
)
def test_flags_of_evaluate_that_do_not_go_together(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "-o", str(tmp_path / "out"), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
