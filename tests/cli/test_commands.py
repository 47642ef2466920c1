"""Every command once, as a user types it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from video.damage import damage_packet
from video.made_clips import make_clip, make_sounding_clip

from masactrl_video.cli.main import main
from masactrl_video.video.clip import open_clip

SHORT = ("--num-inference-steps", "2", "--masa-step", "1", "--frame-load-cap", "2")
Run = Callable[..., Any]


def test_render_says_where_the_result_is(run: Run, clip: Path, tmp_path: Path) -> None:
    ran = run("render", clip, "-o", tmp_path / "new" / "out.mp4", *SHORT)
    assert ran.status == 0
    assert str(tmp_path / "new" / "out.mp4") in ran.out
    assert "2 frames, 48x48 → 128x128" in ran.err
    assert (tmp_path / "new" / "out.mp4").is_file()
    quiet = run("render", "-q", "--config", tmp_path / "new" / "out" / "config.yaml", "-o", tmp_path / "again.mp4")
    assert (quiet.status, quiet.err) == (0, "")
    first, again = ((tmp_path / name / "frames" / "000001.png").read_bytes() for name in ("new/out", "again"))
    assert first == again


def test_probe_tells_the_facts_of_a_clip(run: Run, clip: Path) -> None:
    lines = run("probe", clip).out.splitlines()
    assert lines == [
        f"{clip}: video, 48x48 px, rotated by 0 degrees",
        "3 frames, 10.000 a second, 0.300 seconds",
        "h264 (High), yuv420p; colours: range not said, matrix not said, primaries not said, transfer not said",
        "without sound",
    ]


def test_probe_shows_what_is_left_of_a_damaged_clip(run: Run, tmp_path: Path) -> None:
    one = make_clip(tmp_path / "one.mp4", seconds=0.04)
    assert "\n1 frame, 25.000 a second" in run("probe", one).out
    options = ("-bf", "0", "-g", "5")
    damaged = make_clip(tmp_path / "damaged.mkv", size="96x64", frame_rate="10", seconds=1, options=options)
    damage_packet(damaged, 5)
    ran = run("probe", damaged)
    assert ran.status == 0
    assert "damage: frame 5 cannot be decoded; the first 5 of 10 frames can be read" in ran.out
    assert "damage: " not in run("probe", damaged, "--no-decode").out
    told = json.loads(run("probe", damaged, "--json").out)["result"]
    assert (told["num_frames"], told["num_readable_frames"], told["path"]) == (10, 5, str(damaged))
    assert (told["codec"], told["colours"]["pixel_format"]) == ("h264 (High)", "yuv420p")
    damaged.write_bytes(damaged.read_bytes()[:50])
    ran = run("probe", damaged, "--json")
    assert (ran.status, "error" in json.loads(ran.out)) == (2, True)


@pytest.mark.long
def test_of_a_clip_that_is_cut_off_the_rest_is_rendered_when_asked(run: Run, tmp_path: Path) -> None:
    sounding = make_sounding_clip(tmp_path / "whole.mkv").read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(sounding[: len(sounding) * 2 // 3])
    arguments = ("render", cut, "-o", tmp_path / "out.mp4", *SHORT, "--skip-first-frames", "3")
    before_the_cut = run(*arguments)
    assert before_the_cut.status == 0
    assert "the frames that are taken lie before that" in before_the_cut.err
    arguments = ("render", cut, "-o", tmp_path / "out.mp4", "--overwrite", *SHORT[:4], "--skip-first-frames", "8")
    refused = run(*arguments)
    assert (refused.status, len(refused.err.splitlines())) == (2, 1)
    assert "--allow-partial takes those of them that can be decoded" in refused.err
    ran = run(*arguments, "--allow-partial")
    assert ran.status == 0
    assert "only its first" in ran.err
    info = open_clip(tmp_path / "out.mp4").info
    assert (1 <= info.num_frames < 14, info.has_audio) == (True, True)
    assert "only its first" in (tmp_path / "out" / "log.txt").read_text()


def test_damage_is_found_before_the_work_and_a_run_goes_on_with_what_it_advises(run: Run, tmp_path: Path) -> None:
    clip = make_sounding_clip(tmp_path / "clip.mp4")
    damage_packet(clip, 4)
    arguments = ("render", clip, "-o", tmp_path / "out.mp4", *SHORT[:4], "--no-side-by-side")
    ran = run(*arguments, "--frame-load-cap", "3")
    assert ran.status == 0
    assert "frame 3 of 30 cannot be decoded; the frames that are taken lie before it" in ran.err
    info = open_clip(tmp_path / "out.mp4").info
    assert (info.num_frames, info.has_audio) == (3, True)
    arguments = ("render", clip, "-o", tmp_path / "all.mp4", *SHORT[:4], "--no-side-by-side")
    refused = run(*arguments)
    assert (refused.status, (tmp_path / "all").exists()) == (2, False)
    assert "frame 3 of 30" in refused.err
    assert "--allow-partial takes the frames before it" in refused.err
    assert run(*arguments, "--allow-partial").status == 0
    assert open_clip(tmp_path / "all.mp4").info.num_frames == 3


def test_the_stages_can_be_run_one_by_one(run: Run, clip: Path, tmp_path: Path) -> None:
    assert "2 frames" in run("frames", clip, "-o", tmp_path / "frames", "--frame-load-cap", "2").out
    assert "canny" in run("guidance", clip, "-o", tmp_path / "guidance", "--frame-load-cap", "2").out
    ran = run("encode", clip, "--frames", tmp_path / "frames", "-o", tmp_path / "out.webm", "--frame-load-cap", "2")
    assert (ran.status, ran.out.strip()) == (0, str(tmp_path / "out.webm"))
    assert (tmp_path / "guidance" / "canny.mp4").is_file()


def test_a_character_is_made_kept_shared_and_drawn(run: Run, clip: Path, tmp_path: Path) -> None:
    place, steps = ("--characters-dir", tmp_path / "characters"), ("--num-inference-steps", "3")
    made = run(
        "source", "make", "-q", "hero", "--prompt", "a bear", "--pose", "waving", "--words", "bear", *steps, *place
    )
    assert (made.status, made.err) == (0, "")
    left = tmp_path / "characters" / ".hero.run"
    assert json.loads((left / "report.json").read_text())["settings"]["prompt"] == "a bear"
    assert "cache entry" in (left / "log.txt").read_text()
    assert "hero  128x128  demo  a bear" in run("source", "list", *place).out
    assert json.loads(run("source", "show", "hero", *place).out.rpartition("}")[0] + "}")["recipe"]["pose"] == "waving"
    assert run("source", "export", "hero", "-o", tmp_path / "hero.zip", *place).status == 0
    assert run("source", "import", tmp_path / "hero.zip", "--name", "twin", *place).out.startswith("twin: ")
    assert run("source", "remove", "hero", *place).out == "removed hero\n"
    assert not left.exists()
    story = tmp_path / "script.txt"
    story.write_text("a bear waving # Hello!\n[NC] in the snow\n")
    drawn = run("comic", "-q", story, "-o", tmp_path / "page.pdf", "--source-name", "twin", *steps, *place)
    assert (drawn.status, drawn.err) == (0, "")
    assert str(tmp_path / "page.pdf") in drawn.out
    assert {"page.cbz", "pages", "panels"} <= {path.name for path in (tmp_path / "page").iterdir()}


def test_the_cache_is_listed_shown_verified_and_pruned(run: Run, clip: Path, tmp_path: Path) -> None:
    place = ("--cache-dir", tmp_path / "cache")
    recorded = run("source", "record", clip, "-o", tmp_path / "source.png", *SHORT, *place)
    entry = recorded.out.split()[-1]
    assert f"{entry} " in run("cache", "list", *place).out
    assert f"{entry} " in run("cache", *place, "list").out
    shown = json.loads(run("cache", "show", entry[:6], *place).out)
    assert (shown["fingerprint"], shown["steps"]) == (entry, [1])
    assert run("cache", "verify", *place).status == 0
    assert "removed 0 entries" in run("cache", "prune", "--max-size", "1GiB", *place).out
    damaged = tmp_path / "cache" / entry / "source.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    found = run("cache", "verify", *place)
    assert found.status == 2
    assert "source.safetensors" in found.out
    assert "removed 1 entry," in run("cache", "prune", entry[:6], *place).out
    assert run("cache", "list", *place).out.startswith("0 entries")


@pytest.mark.long
def test_ctrl_c_stops_and_the_same_command_goes_on(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ("--num-inference-steps", "12", "--batch-size", "1", "--chunk-frames", "1", "--guidance")
    arguments = ["render", str(clip), "-o", "out.mp4", *steps, "--cache-dir", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "masactrl_video.cli.main", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = tmp_path / "out" / "frames" / "000000.png"
    deadline = time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "masactrl-video: stopped; the same command goes on where it was"
    assert not (tmp_path / "out.mp4").exists()
    assert len(list(first.parent.iterdir())) < 3
    kept = first.stat().st_mtime_ns
    monkeypatch.chdir(tmp_path)
    assert run(*arguments).status == 0
    assert first.stat().st_mtime_ns == kept
    assert run(*arguments[:3], tmp_path / "whole.mp4", *arguments[4:]).status == 0
    for name in ("000000.png", "000001.png", "000002.png"):
        assert (tmp_path / "whole" / "frames" / name).read_bytes() == (first.parent / name).read_bytes()


def test_a_pipe_that_closes_is_no_crash(clip: Path) -> None:
    program = f"{sys.executable} -m masactrl_video.cli.main render --help | head -1"
    done = subprocess.run(program, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("usage:")
    assert "Traceback" not in done.stderr


def test_main_without_arguments_reads_the_command_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` is here for putting the logger back."""
    monkeypatch.setattr(sys, "argv", ["masactrl-video", "probe", "none.mp4"])
    assert main() == 2
    assert "no such file" in capsys.readouterr().err
