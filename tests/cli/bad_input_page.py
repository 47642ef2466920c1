"""The tables of docs/bad-input.md are what the cases of the tests answer.

`PYTHONPATH=.:tests python -m cli.bad_input_page`, in the repository's folder, runs the cases and writes them anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from cli.bad_files import add_pipe, make_folder
from cli.bad_inputs import CASES, complete, typed
from video.made_clips import make_clip

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bad-input.md"


def row(case: str, arguments: Sequence[str], answer: str, folder: Path) -> str:
    """One line of the table, without what differs between machines."""
    text = answer.removeprefix("masactrl-video: ").strip().replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")
    for pattern, general in _MACHINE:
        text = re.sub(pattern, general, text)
    typed = " ".join(repr(part) if " " in part or not part.isprintable() else part for part in arguments)
    return f"| {case} | `{_cell(typed) or ' '}` | {_cell(text)} |"


_MACHINE = (
    (r"(this machine has).*", r"\1 …"),
    (r"(could not write [^:]*): .*", r"\1: …"),  # the words are ffmpeg's
    (r"(not YAML|not valid JSON): (?!line \d+: references|NaN).*", r"\1: …"),  # and Python's
    (r"(choose from|there are:|entries of) .*?([;)])", r"\1 …\2"),  # new commands and presets change no answer
    (r"(of that name in) [^;]+;", r"\1 …;"),
    (r"(damaged, or no image that can be read) \(.*\)", r"\1 (…)"),
)


def _cell(text: str) -> str:
    short = re.sub(r"(\w)\1{40,}", r"\1…\1", text)
    return short.replace("|", "\\|").replace("<", "&lt;")


def write_table(name: str, rows: Iterable[str]) -> None:
    """Put rows between the marks of a table."""
    begin, end = (f"<!-- {name}: {word} -->" for word in ("begin", "end"))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text("\n".join([before + begin, *rows, end + after]), encoding="utf-8")


def _answers() -> Iterable[str]:
    yield from ("| input | typed | answer |", "| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as place:
        clip = make_clip(Path(place) / "clip.mp4", size="48x48", frame_rate="10", seconds=0.3)
        files = Path(place) / "files"
        files.mkdir()
        make_folder(files, clip)
        for number, (table, case) in enumerate(CASES):
            folder = Path(place) / str(number)
            shutil.copytree(files, folder)
            add_pipe(folder)
            os.chdir(folder)
            yield row(case, typed(table, case), _answer(complete(table, case)), folder)
            shutil.rmtree(folder)


def _answer(arguments: Sequence[str]) -> str:
    from masactrl_video.cli.main import main

    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
        main(arguments)
    return (err.getvalue().splitlines() or ["(no answer)"])[-1]


if __name__ == "__main__":
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    with tempfile.TemporaryDirectory() as nothing:
        os.environ |= {"MASACTRL_VIDEO_CACHE": nothing, "MASACTRL_VIDEO_CHARACTERS": f"{nothing}/characters"}
        write_table("answers", list(_answers()))
