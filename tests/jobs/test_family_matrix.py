"""What docs/families.md says of each family is what its commands answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobs.family_matrix import COLUMNS, TABLES, YES, answer, written


def cases() -> list[object]:
    """A cell each. What is refused is cheap; of what works, `test_families` has one of each family."""
    found: list[object] = []
    page = written()
    for name, rows in TABLES.items():
        for row in rows:
            for number, column in enumerate(COLUMNS):
                said = page[name][row][number] if row in page[name] else "(not on the page)"
                marks = [pytest.mark.slow, pytest.mark.matrix] if said == YES else []
                found.append(pytest.param(name, row, number, said, id=f"{row.strip('`')}-{column.name}", marks=marks))
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the files of all families."""
    return tmp_path_factory.mktemp("matrix")


@pytest.mark.parametrize(("name", "row", "number", "said"), cases())
def test_a_family_answers_as_the_page_says(
    name: str, row: str, number: int, said: str, root: Path, tmp_path: Path
) -> None:
    assert answer(COLUMNS[number], TABLES[name][row], root, tmp_path) == said, "write docs/families.md anew"


def test_the_page_has_every_row_and_family() -> None:
    page = written()
    assert {name: list(rows) for name, rows in page.items()} == {name: list(rows) for name, rows in TABLES.items()}
    assert all(len(answers) == len(COLUMNS) for rows in page.values() for answers in rows.values())
