"""Where everything that belongs to a comic lies, and whether a run may write there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from masactrl_video.errors import UserError
from masactrl_video.jobs.run.report import REPORT_NAME, Report
from masactrl_video.jobs.run.run import Place, alone
from masactrl_video.page.story import Story
from masactrl_video.storage.replace import replacing
from masactrl_video.storage.write_errors import check_can_be_made, storing_in

SUFFIXES = (".png", ".pdf", ".cbz")
_HEADER = "# A comic by masactrl-video: the story as it was read. Paths are relative to the story's own file.\n"


@dataclass(frozen=True)
class ComicOutputs:
    """Paths of a comic: what was asked for, and beside it a folder of the same name with everything else."""

    output: Path
    page_count: int

    @property
    def folder(self) -> Path:
        """`page/` for `page.png`."""
        return self.output.with_suffix("")

    @property
    def story(self) -> Path:
        """The story as it was read."""
        return self.folder / "story.yaml"

    @property
    def report(self) -> Path:
        """Figures of the run."""
        return self.folder / REPORT_NAME

    @property
    def pages(self) -> list[Path]:
        """Page pictures."""
        return [self.folder / "pages" / f"{number:03d}.png" for number in range(1, self.page_count + 1)]

    @property
    def results(self) -> list[Path]:
        """What was asked for: the output, or for several pages as PNG `page-001.png`, … beside it."""
        stem, suffix = self.output.stem, self.output.suffix
        if suffix.lower() != ".png" or self.page_count == 1:
            return [self.output]
        return [self.output.with_name(f"{stem}-{number:03d}{suffix}") for number in range(1, self.page_count + 1)]

    @property
    def pdf(self) -> Path:
        """All pages as a PDF."""
        return self._as(".pdf")

    @property
    def cbz(self) -> Path:
        """All pages as a comic book archive."""
        return self._as(".cbz")

    def panel(self, number: int) -> Path:
        """A panel without its texts, counted from 1."""
        return self.folder / "panels" / f"{number:03d}.png"

    def pose(self, number: int) -> Path:
        """The pose that guides a panel, drawn."""
        return self.folder / "poses" / f"{number:03d}.png"

    def source(self, name: str) -> Path:
        """The source picture of a character."""
        return self.folder / "characters" / f"{name}.png"

    def _as(self, suffix: str) -> Path:
        same = self.output.suffix.lower() == suffix
        return self.output if same else self.folder / f"{self.output.stem}{suffix}"


def check_comic_free(outputs: ComicOutputs, inputs: Sequence[Path], overwrite: bool) -> None:
    """See that a run may write there; nothing stays of what is tried.

    Raises:
        UserError: an unknown suffix, something exists, or an input would be replaced.
    """
    if outputs.output.suffix.lower() not in SUFFIXES:
        raise UserError(f"{outputs.output}: a comic is written as {', '.join(SUFFIXES)}")
    check_can_be_made(*outputs.results, outputs.pdf, outputs.cbz, folder=outputs.folder)
    written = [place.resolve() for place in (outputs.folder, *outputs.results)]
    for path in inputs:
        if any(place == path.resolve() or place in path.resolve().parents for place in written):
            raise UserError(f"{path} is read, and would be overwritten; give another output")
    for path in outputs.results:
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists; give another output, or --overwrite (panels that did not change are kept)")
    if not outputs.folder.exists() or (outputs.folder.is_dir() and not any(outputs.folder.iterdir())):
        return
    if not is_comic_folder(outputs.folder):
        raise UserError(f"{outputs.folder} exists and was not made by this command; give another output")


def is_comic_folder(folder: Path) -> bool:
    """Whether a folder is that of a comic."""
    story = folder / "story.yaml"
    return story.is_file() and story.read_bytes().startswith(_HEADER.encode())


@contextmanager
def comic_claimed(
    outputs: ComicOutputs, story: Story, inputs: Sequence[Path], overwrite: bool, report: Report
) -> Iterator[None]:
    """Make the folder ours, with a log; one that is new and stays without a panel is removed on bad input.

    Raises:
        UserError: see `check_comic_free`; another process may have made the comic meanwhile.
    """
    data = story.model_dump(mode="json", exclude_defaults=True)

    def check() -> None:
        check_comic_free(outputs, inputs, overwrite)

    def begin() -> None:
        for name in ("panels", "poses", "characters", "pages"):
            (outputs.folder / name).mkdir(parents=True, exist_ok=True)
        with replacing(outputs.story) as partial:
            partial.write_text(_HEADER + yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")

    with (
        storing_in(outputs.folder),
        alone(Place.folder(outputs.folder), data, check, report=report, begin=begin, made=["panels/*"]),
    ):
        yield
