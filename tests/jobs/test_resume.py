"""Runs that were interrupted, and outputs that are there already."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from video.made_clips import make_clip

from masactrl_video.cache.holders import held_path, is_held
from masactrl_video.controls.clip import FittedClip
from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.video.png import read_png

Render = Callable[..., Outputs]
ALL = {"frame_load_cap": None, "batch_size": 2}


@pytest.fixture(scope="module")
def whole(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return render(tmp_path_factory.mktemp("whole") / "out.mp4", **ALL)


@pytest.fixture
def finished(whole: Outputs, tmp_path: Path) -> Outputs:
    """A copy of a finished run, for a test to damage."""
    shutil.copytree(whole.video.parent, tmp_path, dirs_exist_ok=True)
    return Outputs(tmp_path / "out.mp4")


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def rendered_frames(outputs: Outputs) -> int:
    return int(json.loads(outputs.report.read_text())["render"]["frames_rendered"])


def test_a_run_goes_on_where_it_stopped_and_ends_with_the_same_bits(finished: Outputs, render: Render) -> None:
    before = contents(finished.folder / "frames")
    finished.video.unlink()
    (finished.folder / "frames" / "000003.png").unlink()
    render(finished.video, **ALL)
    after = contents(finished.folder / "frames")
    assert [after[name] == before[name] for name in sorted(after)] == [True, True, True, False]
    assert [after[name][1] == before[name][1] for name in sorted(after)] == [True] * 4
    assert rendered_frames(finished) == 2  # by batches
    assert finished.video.is_file()


def test_a_run_that_met_damage_goes_on_with_what_it_was_advised(finished: Outputs, render: Render) -> None:
    before = contents(finished.folder / "frames")
    finished.video.unlink()
    render(finished.video, **ALL, allow_partial=True)
    assert contents(finished.folder / "frames") == before
    assert finished.video.is_file()


def test_guidance_that_fails_beside_the_model_keeps_the_frames_and_ends_with_the_same_bits(
    whole: Outputs, tmp_path: Path, render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, frames = Outputs(tmp_path / "out.mp4"), FittedClip.__iter__

    def until_two_are_rendered(clip: FittedClip) -> Iterator[np.ndarray]:
        for number, frame in enumerate(frames(clip)):
            while number == 2 and not outputs.frames(2)[1].exists():
                time.sleep(0.01)
            if number == 2:
                raise UserError("frame 2 cannot be decoded")
            yield frame

    with monkeypatch.context() as patch:
        patch.setattr(FittedClip, "__iter__", until_two_are_rendered)
        with pytest.raises(UserError, match="frame 2 cannot be decoded"):
            render(outputs.video, **ALL, chunk_frames=2)
    assert [path.exists() for path in outputs.frames(4)] == [True, True, False, False]
    assert not outputs.guidance("canny").exists()
    entry = Path(json.loads(whole.report.read_text())["cache_entry"])
    assert is_held(entry.parent, entry.name)  # the run will go on with it
    render(outputs.video, **ALL, chunk_frames=2)
    assert not held_path(entry.parent, entry.name).exists()
    assert rendered_frames(outputs) == 2
    kept, new = (sorted((made.folder / "frames").iterdir()) for made in (whole, outputs))
    for left, right in zip(kept, new, strict=True):
        np.testing.assert_array_equal(read_png(left), read_png(right))
    assert not list(outputs.folder.rglob(".*"))


def test_a_run_with_all_frames_only_encodes(finished: Outputs, render: Render) -> None:
    before = contents(finished.folder / "frames")
    finished.video.unlink()
    render(finished.video, **ALL, crf=30, audio=False)
    assert contents(finished.folder / "frames") == before
    assert rendered_frames(finished) == 0
    assert finished.video.is_file()


def test_a_finished_output_is_not_touched(finished: Outputs, render: Render) -> None:
    before = contents(finished.video.parent)
    with pytest.raises(UserError, match=r"out\.mp4 exists; .*--overwrite"):
        render(finished.video, **ALL)
    assert contents(finished.video.parent) == before


def test_a_run_that_was_killed_after_its_video_was_there_ends_at_once(finished: Outputs, render: Render) -> None:
    before = contents(finished.video.parent)
    mark = finished.folder / ".unfinished"
    mark.write_text('{"state": "rendering"}')
    render(finished.video, **ALL)
    assert not mark.exists()
    assert contents(finished.video.parent) == before


def test_a_run_that_was_to_replace_a_video_is_not_taken_for_it(finished: Outputs, render: Render) -> None:
    (finished.folder / ".unfinished").write_text('{"state": "rendering"}')
    os.utime(finished.video, ns=(0, 0))
    with pytest.raises(UserError, match=r"out\.mp4 exists"):
        render(finished.video, **ALL)


def test_another_setting_in_the_same_folder_is_refused_with_the_difference(finished: Outputs, render: Render) -> None:
    finished.video.unlink()
    before = contents(finished.video.parent)
    with pytest.raises(UserError, match=r"other settings: prompt: '.*' -> 'a cat'; seed: 0 -> 7; --restart discards"):
        render(finished.video, **ALL, seed=7, prompt="a cat", crf=30)
    assert contents(finished.video.parent) == before


def test_another_clip_under_the_same_name_is_refused(render: Render, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=0.08)
    outputs = render(tmp_path / "out.mp4", clip=clip)
    make_clip(clip, seconds=0.08, options=("-vf", "negate"))
    outputs.video.unlink()
    with pytest.raises(UserError, match="made from another clip"):
        render(outputs.video, clip=clip)


def test_overwrite_begins_anew_and_leaves_nothing_stale(finished: Outputs, render: Render) -> None:
    (finished.folder / "notes.txt").write_text("mine")
    (finished.folder / "masks").mkdir()
    render(finished.video, overwrite=True, guidance=[])
    names = {path.name for path in finished.folder.iterdir()}
    assert names == {"config.yaml", "log.txt", "report.json", "source.png", "frames", "notes.txt"}
    assert len(list((finished.folder / "frames").iterdir())) == 2


def test_overwrite_never_clears_a_folder_that_is_not_ours(render: Render, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "frames" / "mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    (tmp_path / "out" / "config.yaml").write_text("model: mine\n")
    with pytest.raises(UserError, match="was not made by this command"):
        render(tmp_path / "out.mp4", overwrite=True)
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["clip", "source_image"])
def test_an_input_is_never_overwritten(finished: Outputs, render: Render, name: str) -> None:
    path = {"clip": finished.video, "source_image": finished.source}[name]
    before = contents(finished.video.parent)
    with pytest.raises(UserError, match=rf"^{name}: .* is read, and would be overwritten"):
        render(finished.video, overwrite=True, **{name: path})
    assert contents(finished.video.parent) == before


def test_input_that_turns_out_unusable_leaves_nothing(render: Render, tmp_path: Path) -> None:
    short = make_clip(tmp_path / "short.mp4", seconds=0.04)
    with pytest.raises(UserError, match="for 1 frame; 2 are taken of the clip's 4"):
        render(tmp_path / "out.mp4", guidance_video={"canny": short})
    assert [path.name for path in tmp_path.iterdir()] == ["short.mp4"]


def test_an_encoder_that_there_is_not_is_found_before_the_work(render: Render, tmp_path: Path) -> None:
    for wrong, word in (({"codec": "h266"}, "h266"), ({"pix_fmt": "rgb5"}, "rgb5")):
        with pytest.raises(UserError, match=word):
            render(tmp_path / "out.mp4", **wrong)
    with pytest.raises(UserError, match="no effect on a GIF"):
        render(tmp_path / "out.gif", crf=20)
    assert list(tmp_path.iterdir()) == []


def test_frames_do_not_change_while_others_are_added(whole: Outputs) -> None:
    pictures = [path.read_bytes() for path in whole.frames(4)]
    assert len(set(pictures)) == 4
    assert np.unique([len(picture) > 1000 for picture in pictures]).tolist() == [True]
