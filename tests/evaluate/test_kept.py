"""An evaluation that was stopped goes on with the case at which it was, and ends as an undisturbed one."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masactrl_video.evaluate.evaluate import evaluate
from masactrl_video.evaluate.kept import KeptCases
from masactrl_video.evaluate.measure import Measured

HERE = "masactrl_video.evaluate.evaluate"


def case(number: int) -> Measured:
    """Values that binary fractions do not hold, some of them undefined, and a row of five pictures."""
    random = np.random.default_rng(number)
    values = {"error": random.normal(size=3).tolist(), "leakage": [float("nan")][: number % 2]}
    return Measured(values, [[*random.integers(0, 256, (5, 8, 8, 3), np.uint8)]])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Evaluates with made-up cases; those measured are returned, as they were begun."""

    def run(folder: Path, *, cases: int = 4, stop_at: int | None = None, curves: bool = False) -> list[int]:
        begun: list[int] = []

        def measure(number: int) -> Measured:
            begun.append(number)
            if number == stop_at:
                raise KeyboardInterrupt
            return case(number)

        monkeypatch.setattr(f"{HERE}._Cases.measuring", lambda *_: measure)
        monkeypatch.setattr(f"{HERE}.as_markdown", lambda measured, heading: heading)
        with suppress(KeyboardInterrupt):
            evaluate(folder, model="demo", cases=cases, world="small", curves=curves, overwrite=False)
        return begun

    return run


def contents(folder: Path) -> dict[str, Any]:
    names = ("figures.md", "values.json", "sheet.png")
    return {name: (folder / name).read_bytes() for name in names}


def test_a_stopped_evaluation_goes_on(run: Callable[..., list[int]], tmp_path: Path) -> None:
    stopped, undisturbed = tmp_path / "stopped", tmp_path / "undisturbed"
    assert run(stopped, cases=3, stop_at=2) == [0, 1, 2]
    assert not (stopped / "values.json").exists()
    assert run(stopped) == [2, 3]
    assert run(undisturbed) == [0, 1, 2, 3]
    assert contents(stopped) == contents(undisturbed)
    assert json.loads((stopped / "values.json").read_text())["error"][:3] == case(0).values["error"]
    assert not (stopped / ".cases").exists()


def test_cases_of_other_settings_are_measured_anew(run: Callable[..., list[int]], tmp_path: Path) -> None:
    run(tmp_path / "out", stop_at=1)
    assert run(tmp_path / "out", curves=True) == [0, 1, 2, 3]


def test_a_case_comes_back_as_it_was(tmp_path: Path) -> None:
    kept, wanted = KeptCases(tmp_path / "kept", "these weights"), case(1)
    assert kept.read(1) is None
    kept.write(1, wanted)
    found = kept.read(1)
    assert found is not None
    np.testing.assert_equal(found.values, wanted.values)
    np.testing.assert_array_equal(found.rows, wanted.rows)
    assert KeptCases(tmp_path / "kept", "other weights").read(1) is None
