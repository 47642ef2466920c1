"""The whole evaluation of a model of the cartoon world: a folder with table, values and picture sheet."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import masactrl_video
from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.demo.world.identity import WORLDS
from masactrl_video.engines.choose import each_of
from masactrl_video.engines.work import Each, check_weights, weights_in
from masactrl_video.errors import counted
from masactrl_video.evaluate.cases import make_cases
from masactrl_video.evaluate.kept import KeptCases
from masactrl_video.evaluate.measure import Evaluation, Measured, joined
from masactrl_video.evaluate.rendering import Way
from masactrl_video.evaluate.results import model_folder, result_files, write_results
from masactrl_video.evaluate.table import as_markdown
from masactrl_video.jobs.run.report import Report
from masactrl_video.jobs.run.run import Place, alone
from masactrl_video.model.backbones.controls import NetworkChoice
from masactrl_video.model.loading.load import load_model
from masactrl_video.page.sheet import Panel, labelled_sheet
from masactrl_video.poses.detectors.network import NetworkPoseDetector
from masactrl_video.progress import counting
from masactrl_video.settings.engine_parts import EngineSettings
from masactrl_video.settings.names import AdapterKind
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.storage.fingerprint import hash_json

logger = logging.getLogger(__name__)

_TARGETS = 2
"""Poses in which each character is wanted."""
_ON_SHEET = 6


def evaluate(
    folder: Path,
    *,
    model: str,
    cases: int,
    world: str,
    curves: bool,
    overwrite: bool,
    engine: EngineSettings | None = None,
) -> str:
    """Measure a model by the settings of its preset and write `figures.md`, `values.json` and `sheet.png`.

    A run that was stopped goes on with the case at which it was.

    Args:
        folder: for the files.
        model: `demo`, `demo-dit`, or a folder that `masactrl_video.demo.export` wrote.
        cases: held-out characters.
        world: what the model was trained on, a name of `demo.world.identity.WORLDS`.
        curves: also the curves over S and L.
        overwrite: replace the files.
        engine: who measures the cases, by default this process.

    Returns:
        The table in Markdown.

    Raises:
        UserError: the folder has such files already, the model's weights are not there, or see `each_of`.
    """
    asked = {"model": model, "cases": cases, "world": world, "curves": curves}
    with alone(Place.folder(folder), asked, lambda: result_files(folder, _FILES, overwrite)) as report:
        files = result_files(folder, _FILES, overwrite)
        with each_of(engine or EngineSettings()) as each:
            return _evaluate(files, _Cases(model, cases, world, curves), each, report)


_FILES = ("figures.md", "values.json", "sheet.png")
_CASES = ".cases"


@dataclass(frozen=True)
class _Cases:
    """The cases of an evaluation, as a `Work`: a number gives what is measured of a case."""

    model: str
    cases: int
    world: str
    curves: bool
    weights: Mapping[str, str] = field(default_factory=dict)
    """Of the owner's model."""
    sources: Sequence[Path] = ()

    def open(self, sources: Sequence[Path]) -> Callable[[int], Measured]:
        """Load the model; what measures a case."""
        evaluation = _evaluation(self.model, self.world)
        check_weights(evaluation.way.model, self.weights)
        return self.measuring(evaluation)

    def measuring(self, evaluation: Evaluation) -> Callable[[int], Measured]:
        """What measures a case by a loaded model."""
        cases = make_cases(self.cases, _TARGETS, evaluation.way.model.native_size_px[0], evaluation.world)
        return lambda number: evaluation.measure(cases[number], curves=self.curves)


def _evaluate(files: Sequence[Path], work: _Cases, each: Each, report: Report) -> str:
    evaluation = _evaluation(work.model, work.world)
    report.model = evaluation.way.model
    work = replace(work, weights=each.weights(evaluation.way.model))
    kept = KeptCases(files[0].parent / _CASES, _made_from(work, evaluation))
    numbers = range(work.cases)
    done = {number: case for number in numbers if (case := kept.read(number)) is not None}
    if done:
        logger.info("%s of %d measured before", counted(len(done), "case"), work.cases)
    missing = [number for number in numbers if number not in done]
    results = each(work, missing, work.measuring(evaluation))
    for number, case in counting(results, "evaluate", "case", total=len(missing)):
        done[number] = case
        kept.write(number, case)
    report.figures |= each.figures()
    measured = joined([done[number] for number in numbers])
    size_px = evaluation.way.model.native_size_px[0]
    heading = f"{counted(work.cases, 'held-out character')} in {_TARGETS} poses each, {size_px}x{size_px}."
    table = as_markdown(measured, heading)
    write_results(files, table, measured, sheet(measured))
    kept.remove()
    return table


def _made_from(work: _Cases, evaluation: Evaluation) -> str:
    """Names everything that determines the values of a case."""
    ways = [way for way in (evaluation.way, evaluation.adapter_way) if way is not None]
    content = {
        "version": masactrl_video.__version__,
        "weights": [weights_in(way.model) for way in ways],
        "settings": evaluation.way.settings.as_yaml_data(),
        "detector": evaluation.detector.identity,
        "asked": [work.world, work.curves, _TARGETS],
    }
    return hash_json(content)


def sheet(measured: Measured) -> np.ndarray:
    """The first cases, a row each."""
    labels = ("source", "exact frame", "with the source", "fixed seed only", "masked")
    rows = [
        [Panel(label if number == 0 else "", picture) for label, picture in zip(labels, row, strict=True)]
        for number, row in enumerate(measured.rows[:_ON_SHEET])
    ]
    return labelled_sheet(rows)


def _evaluation(model: str, world: str) -> Evaluation:
    folder = model_folder(model, "controlnet-pose")
    preset = "demo-dit" if (folder / "transformer").is_dir() else "demo"
    settings = resolve(read_preset(preset), {"clip": "evaluation"})

    def way(kind: AdapterKind) -> Way:
        network = NetworkChoice("pose", kind, str(folder / f"{kind}-pose"))
        return Way(load_model(str(folder), networks=[network]), settings)

    adapter_way = way("t2i-adapter") if (folder / "t2i-adapter-pose").is_dir() else None
    own_detector = folder / "keypoints"
    detector = NetworkPoseDetector(own_detector if own_detector.is_dir() else WEIGHTS / "keypoints")
    return Evaluation(way("controlnet"), adapter_way, detector, WORLDS[world])
