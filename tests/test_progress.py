"""What a run tells is heard by those who watch it, and by nobody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from masactrl_video.cli.bars import Bars
from masactrl_video.progress import (
    Cancelled,
    CancelToken,
    Event,
    Task,
    TaskAdvanced,
    TaskBegan,
    TaskEnded,
    carried,
    counting,
    stopped_by,
    watching,
)


def test_a_task_is_told_from_begin_to_end() -> None:
    told: list[Event] = []
    with watching(told.append):
        assert list(counting("ab", "letters", "letter")) == ["a", "b"]
    begun = told[0]
    assert isinstance(begun, TaskBegan)
    task = begun.task
    assert (task.name, task.unit, task.total, task.passing) == ("letters", "letter", 2, False)
    assert told[1:] == [TaskAdvanced(task, 1), TaskAdvanced(task, 2), TaskEnded(task)]
    list(counting("ab", "letters", "letter"))
    assert len(told) == 4  # nobody listens any more


def test_one_that_fails_ends_too() -> None:
    told: list[Event] = []
    with watching(told.append), pytest.raises(ZeroDivisionError):
        list(counting((1 / n for n in (1, 0)), "halves", "half", total=2))
    assert [type(event) for event in told] == [TaskBegan, TaskAdvanced, TaskEnded]


def test_a_thread_is_heard_by_those_who_watch_whoever_started_it() -> None:
    told: list[list[Event]] = [[], []]

    def work(name: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(carried(list), counting("abc", name, "letter")).result()

    def run(number: int) -> None:
        with watching(told[number].append):
            work(str(number))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, (0, 1)))
    for number, events in enumerate(told):
        assert len(events) == 5
        assert {event.task.name for event in events if isinstance(event, TaskBegan)} == {str(number)}


def test_bars_show_what_is_done_and_how_much_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    bars = Bars()
    with watching(bars):
        for _ in counting("abcd", "letters", "letter"):
            pass
        for _ in counting(iter("ab"), "gone", "letter", passing=True):
            pass
    lines = capsys.readouterr().err
    assert "letters: 100%|" in lines and "4/4 [" in lines and "letter/s" in lines
    assert not bars.shown
    assert Task("a", "b", 1) != Task("a", "b", 1)


def test_a_token_stops_its_own_task_and_no_other_in_its_threads_too() -> None:
    token, told = CancelToken(), []

    def work() -> list[int]:
        return list(counting(range(3), "numbers", "number"))

    with ThreadPoolExecutor(1) as pool, watching(told.append):
        with stopped_by(token):
            assert pool.submit(carried(work)).result() == [0, 1, 2]
            token.cancel()
            with pytest.raises(Cancelled):
                pool.submit(carried(work)).result()
        with stopped_by(CancelToken()):
            assert work() == [0, 1, 2]
    assert isinstance(told[-1], TaskEnded)
