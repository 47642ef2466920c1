"""The whole way, from files to a report, as a user types it."""

import csv
import functools
import json
import logging
import math
import tracemalloc
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tqdm
from measure.made_frames import noisy, pose, rolled, texture
from PIL import Image
from video.made_clips import ffmpeg

import masactrl_video
from masactrl_video.cli.main import main
from masactrl_video.errors import UserError
from masactrl_video.jobs.measure.report import measure_clip
from masactrl_video.measure.definitions import DEFINITIONS
from masactrl_video.measure.moments import Moment, Picture
from masactrl_video.measure.opened import FindPose, Opened
from masactrl_video.poses.pose_json import write_poses

BASE = rolled(texture(64, 64), 6)


def folder_of(path: Path, pictures: list[Picture]) -> Path:
    path.mkdir()
    for at, picture in enumerate(pictures):
        Image.fromarray(picture).save(path / f"{at:03d}.png")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what the tests measure."""
    folder = tmp_path_factory.mktemp("made")
    folder_of(folder / "given", BASE)
    folder_of(folder / "copy", BASE)
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[16:48, 16:48] = 255
    edited = [np.where(mask > 0, 255 - one, noisy(one, 2, 1)) for one in BASE]
    worse = [np.where(mask > 0, 255 - one, noisy(one, 12, at)) for at, one in enumerate(BASE)]
    folder_of(folder / "edited", edited)
    folder_of(folder / "worse", worse)
    folder_of(folder / "masks", [mask] * 6)
    folder_of(folder / "small-masks", [mask[::2, ::2]] * 6)
    folder_of(folder / "few", BASE[:4])
    folder_of(folder / "one", BASE[:1])
    folder_of(folder / "tiny", [picture[:8, :8] for picture in BASE])
    Image.fromarray(BASE[0]).save(folder / "source.png")
    Image.fromarray(mask).save(folder / "mask.png")
    write_poses(folder / "poses.json", [pose()] * 6)
    write_poses(folder / "seen.json", [pose((2, 0))] * 6)
    write_poses(folder / "two.json", [pose()] * 2)
    write_poses(folder / "nobody.json", [pose(without=range(18)), *[pose()] * 5])
    (folder / "damaged.mp4").write_bytes(b"no video" * 50)
    (folder / "bounds.yaml").write_text("kept-mse: 0.5\nwarp-error: 1\n")
    (folder / "strict.json").write_text(
        '{"kept-ssim": 0.99, "colour-drift": 500, "dynamic-degree": {"min": 2}, "pose-oks": 1}'
    )
    (folder / "unknown.yaml").write_text("warp-eror: 1\n")
    (folder / "word.yaml").write_text("warp-error: low\n")
    return folder


@pytest.fixture
def run(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str], list[str]]]:
    """`measure` in the folder: exit status, lines on stdout, lines on stderr."""
    monkeypatch.chdir(made)
    monkeypatch.setenv("TQDM_DISABLE", "1")  # the command sets it; here tqdm may have been imported before
    monkeypatch.setattr(tqdm.std.tqdm, "__init__", functools.partialmethod(tqdm.std.tqdm.__init__, disable=True))
    logger = logging.getLogger("masactrl_video")
    monkeypatch.setattr(logger, "handlers", [])

    def run(line: str, output: Path) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        status = main(["measure", "-q", *line.split(), "-o", str(output)])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err.splitlines()

    return run


Run = Callable[..., tuple[int, list[str], list[str]]]


def value_in(lines: list[str], name: str) -> str:
    return next(line.split()[1] for line in lines if line.split()[:1] == [name])


ALL = (
    "--input given --source source.png --source-mask mask.png --masks mask.png --poses poses.json "
    "--result-poses poses.json"
)


def test_identical_clips_are_perfect_everywhere(run: Run, tmp_path: Path) -> None:
    status, _, errors = run(f"copy {ALL}", tmp_path / "report")
    assert (status, errors) == (0, [])
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    definitions, figures = data["definitions"], data["clips"][0]["figures"]
    still = {"temporal-flickering", *(name for name in figures if name.startswith("colour-"))}  # of a clip that moves
    for name, figure in figures.items():
        if definitions[name]["perfect"] is not None and name not in still:
            assert figure["value"] == definitions[name]["perfect"], name
    warped = figures["warp-error"]
    assert f"the input's own: {warped['value']:.5f}" in warped["notes"]
    assert any(note.endswith("nothing was edited") for note in warped["notes"])


def test_a_report_has_a_page_json_and_csv_that_agree(run: Run, tmp_path: Path) -> None:
    report = tmp_path / "new" / "report"
    status, lines, errors = run(f"edited {ALL} --against worse copy", report)
    assert (status, errors) == (0, [])
    assert lines[-1] == str(report / "report.html")
    assert sorted(path.name for path in report.iterdir()) == ["figures.csv", "frames.csv", "report.html", "report.json"]
    data = json.loads((report / "report.json").read_text())
    assert [one["label"] for one in data["clips"]] == ["edited", "worse", "copy"]
    row = next(row for row in data["comparison"] if row["figure"] == "kept-psnr")
    assert (row["best"], row["against"], row["clear"]) == ("edited", "worse", True)
    assert "copy is out: nothing was edited" in row["said"]
    assert row["values"][2] == "Infinity"
    table = list(csv.DictReader((report / "figures.csv").open()))
    assert [one["figure"] for one in table] == [row["figure"] for row in data["comparison"]]
    assert float(next(one for one in table if one["figure"] == "kept-psnr")["edited"]) == row["values"][0]
    values = [one for one in csv.DictReader((report / "frames.csv").open()) if one["figure"] == "kept-ssim"]
    assert len(values) == 3 * 6
    of_edited = [float(one["value"]) for one in values if one["clip"] == "edited"]
    assert of_edited == data["clips"][0]["figures"]["kept-ssim"]["values"]
    assert np.mean(of_edited) == pytest.approx(data["clips"][0]["figures"]["kept-ssim"]["value"])


class Page(HTMLParser):
    """What stands in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_other_file(run: Run, tmp_path: Path) -> None:
    run(f"edited {ALL} --against worse", tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    addresses = [attrs[name] or "" for _, attrs in page.tags for name in ("src", "href") if name in attrs]
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in addresses)
    assert sum(tag == "polyline" for tag, _ in page.tags) >= 10
    assert sum(tag == "img" for tag, _ in page.tags) >= 6
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    for about in data["definitions"].values():
        for name in ("formula", "source", "not_said"):
            assert about[name].split(":")[0].split("'")[0].replace("<", "&lt;") in text


def test_a_program_is_told_frames_and_figures(run: Run, tmp_path: Path) -> None:
    status, lines, _ = run("edited --input given --json", tmp_path / "report")
    told = [json.loads(line) for line in lines]
    assert status == 0
    assert [event["frame"] for event in told if event.get("stage") == "measure"] == list(range(6))
    result = told[-1]["result"]
    assert result["page"] == str(tmp_path / "report" / "report.html")
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert result["figures"]["edited"] == {name: one["value"] for name, one in data["clips"][0]["figures"].items()}


def test_of_rates_and_sizes_that_differ_is_said_how_they_were_matched(run: Run, made: Path, tmp_path: Path) -> None:
    ffmpeg(
        "-framerate", 24, "-i", made / "given" / "%03d.png", "-vf", "scale=96:96", "-c:v", "ffv1", tmp_path / "fast.mkv"
    )
    ffmpeg("-framerate", 12, "-i", made / "few" / "%03d.png", "-frames:v", 3, "-c:v", "ffv1", tmp_path / "slow.mkv")
    status, lines, errors = run(f"{tmp_path}/slow.mkv --input {tmp_path}/fast.mkv", tmp_path / "report")
    assert (status, errors) == (0, [])
    said = json.loads((tmp_path / "report" / "report.json").read_text())["clips"][0]["remarks"]
    assert any("matched by time: 3 pairs" in line for line in said)
    assert any("96x96 → 64x64, crop: scaled by 0.667" in line for line in said)
    assert value_in(lines, "edit-strength")


def test_bounds_that_are_missed_end_with_status_1_and_a_line_each(run: Run, tmp_path: Path) -> None:
    assert run("worse --input given --fail-below bounds.yaml", tmp_path / "kept")[::2] == (0, [])
    status, _, errors = run("worse --input given --fail-below strict.json", tmp_path / "missed")
    assert status == 1
    assert (tmp_path / "missed" / "report.html").is_file()
    assert [line.split(":")[1].strip() for line in errors] == ["worse"] * len(errors)
    assert [line.split()[2] for line in errors] == ["kept-ssim", "dynamic-degree", "pose-oks"]
    assert errors[0].endswith("at least 0.99 is asked for")
    assert errors[2].endswith("pose-oks was not measured, but has a bound")


def test_a_report_that_is_there_stays_unless_it_may_be_replaced(run: Run, made: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    run("few", report)
    before = (report / "report.html").read_bytes()
    status, out, errors = run("copy", report)
    assert (status, out, len(errors)) == (2, [], 1)
    assert "--overwrite" in errors[0]
    assert (report / "report.html").read_bytes() == before
    assert run("copy --overwrite", report)[0] == 0
    assert (report / "report.html").read_bytes() != before
    assert "was not made by this command" in run("copy --overwrite", made)[2][0] or "is read" in run("copy", made)[2][0]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    assert "was not made by this command" in run("copy --overwrite", tmp_path / "other")[2][0]


BAD = {
    "nothing there": ("none", "no such file or folder: none"),
    "nothing to compare with there": ("copy --input none", "no such file or folder: none"),
    "another length": ("few --input given", "--shortest takes the stretch that both have"),
    "a damaged file": ("damaged.mp4", "damaged.mp4"),
    "one frame": ("one", "one has one frame"),
    "too small": ("tiny", "tiny is 8x8; give one of 16 px on each side at least"),
    "masks of another size": ("copy --masks small-masks", "small-masks is 32x32, the frames are 64x64"),
    "masks of another number": ("copy --masks few", "few is for 4 frames, but the result has 6"),
    "poses of another number": ("copy --poses two.json --result-poses two.json", "two.json is for 2 frames"),
    "poses of the result alone": (
        "copy --result-poses seen.json",
        "no poses to be compared with; give them with --poses",
    ),
    "a mask of no source": ("copy --source-mask mask.png", "is of no picture; give it with --source"),
    "a source's mask of another size": (
        "copy --source source.png --source-mask small-masks/000.png",
        "small-masks/000.png is 32x32, but source.png is 64x64",
    ),
    "the shortest of one": ("copy --shortest", "no effect without --input"),
    "a detector without a pose": ("copy --pose-detector x.onnx", "there is no pose to follow; give --poses"),
    "a threshold without a detector": ("copy --pose-threshold 0.5", "without --pose-detector"),
    "an unknown figure": ("copy --fail-below unknown.yaml", "no figure 'warp-eror'; did you mean warp-error?"),
    "a bound that is none": ("copy --fail-below word.yaml", "warp-error: a number is wanted, got 'low'"),
    "pictures beside a clip": ("source.png --input given", "still pictures are compared with a picture"),
    "the same twice": ("copy --against copy", "copy is given twice"),
    "weights that are none": ("copy --raft source.png", "source.png is no safetensors file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered_in_one_line(run: Run, tmp_path: Path, name: str) -> None:
    line, said = BAD[name]
    status, out, errors = run(line, tmp_path / "report")
    assert (status, out, len(errors)) == (2, [], 1)
    assert said in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_measured_against_a_picture(run: Run, tmp_path: Path) -> None:
    status, lines, _ = run("source.png --input given/002.png --masks mask.png", tmp_path / "report")
    assert status == 0
    assert value_in(lines, "kept-psnr-outside")
    assert not any(line.split()[:1] == ["temporal-flickering"] for line in lines)


def test_from_python_the_result_is_typed(made: Path) -> None:
    found = masactrl_video.measure_clip(
        made / "copy", input=made / "given", poses=made / "nobody.json", result_poses=made / "seen.json"
    )
    assert found.value("kept-psnr") == math.inf
    assert 0 < found.value("pose-oks") < 1
    assert (found.num_frames, found.width_px, found.frame_rate) == (6, 64, 24.0)
    assert found.figure("loop-seam") is None
    with pytest.raises(KeyError):
        found.value("loop-seam")


def test_nobody_found_is_said_with_what_to_do(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from masactrl_video.controls import pose_plan

    def blind(name: str, threshold: float | None) -> Any:
        return lambda picture: pose(without=range(18))

    monkeypatch.setattr(pose_plan, "detector_named", blind)
    options = masactrl_video.MeasureOptions(pose_detector="blind")
    with pytest.raises(
        UserError, match=r"no person is found in any of the 6 frames of .*copy; take another --pose-detector"
    ):
        measure_clip(made / "copy", poses=made / "poses.json", options=options)
    with pytest.raises(UserError, match=r"no person is found in any of the 6 frames of .*given; give the poses"):
        measure_clip(made / "copy", input=made / "given", options=options)


def test_memory_does_not_grow_with_the_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = folder_of(tmp_path / "clip", rolled(texture(128, 128), 60, step_px=1))
    held_bytes: list[int] = []
    moments = Opened.moments

    def watched(self: Opened, find_pose: FindPose | None = None) -> Iterator[Moment]:
        for moment in moments(self, find_pose):
            yield moment
            held_bytes.append(tracemalloc.get_traced_memory()[0])  # all meters have seen it

    monkeypatch.setattr(Opened, "moments", watched)
    tracemalloc.start()
    measure_clip(clip, input=clip)
    tracemalloc.stop()
    assert len(held_bytes) == 60
    of_frames = 45 * 2 * 128 * 128 * 3  # of two clips, were they kept; each value of a frame takes some bytes
    assert min(held_bytes[-10:]) - min(held_bytes[5:15]) < of_frames / 10


def test_the_page_of_the_documentation_names_every_figure() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "measure.md").read_text(encoding="utf-8")
    assert [name for name in DEFINITIONS if f"`{name}`" not in page] == []
