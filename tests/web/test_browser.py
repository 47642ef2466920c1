"""What people do on the page, done in a real browser."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import imageio_ffmpeg
import pytest
from PIL import Image
from web.browser import Server, choose_tab, needs_browser, opened, opened_browser

from masactrl_video.web.preview import example_clip

pytestmark = [needs_browser, pytest.mark.browser]

TABS = ("Clip", "Stills", "Poses", "Characters", "Comic", "Runs", "Doctor")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    server = Server(home / "runs", home, "--max-upload", "50MiB")
    yield server
    server.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as browser:
        yield browser


def written_clip(path: Path, frames: int) -> Path:
    source = ["-f", "lavfi", "-i", f"testsrc=s=64x64:r=4:d={frames / 4}", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source], check=True)
    return path


@pytest.fixture(scope="module")
def clip(home: Path) -> Path:
    return written_clip(home / "my clip.mp4", 2)


@pytest.fixture(scope="module")
def long_clip(home: Path) -> Path:
    """Long enough to be stopped in the middle."""
    return written_clip(home / "long.mp4", 48)


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    page = opened(browser, server.url)
    yield page
    assert page.left == []  # nothing was asked for elsewhere
    page.context.close()


def panel(page: Any) -> Any:
    """What is shown of the tab that is chosen."""
    return page.locator("[role=tabpanel]:visible").last


def drop(page: Any, file: Path) -> None:
    page.locator("#clip-file input[type=file]").set_input_files(str(file))


def steps(page: Any, count: int) -> None:
    field = page.get_by_label("Num inference steps").locator("visible=true").first
    field.fill(str(count))
    field.blur()


def made(page: Any, state: str = "Done") -> Any:
    """Wait for the job that is shown to be in a state; returns its section."""
    job = page.locator(".mv-job:visible").filter(has=page.locator(".mv-state", has_text=state)).first
    job.wait_for()
    return job


def wait_until_it_plays(page: Any) -> None:
    page.wait_for_function("document.querySelector('.mv-result video')?.readyState >= 2")


def test_a_newcomer_drops_a_clip_and_sees_the_result_play(page: Any, clip: Path, full: bool) -> None:
    drop(page, clip)
    page.wait_for_selector("#clip-preview img")
    assert page.locator("#clip-preview img").count() == 4  # two frames, and the edges of each
    if not full:
        steps(page, 2)
    page.click("#clip-make")
    job = made(page)
    wait_until_it_plays(page)
    assert job.locator("video").count() == 3
    assert job.get_by_alt_text("source").count() == 1
    line = job.locator(".mv-line code").first.text_content()
    assert line.startswith("masactrl-video render ")
    assert "my_clip.mp4" in line
    assert "job=" in page.url


def test_thresholds_move_live(page: Any, clip: Path) -> None:
    drop(page, clip)
    edges = page.locator("#clip-preview").get_by_alt_text("edges 0")
    edges.wait_for()
    before = edges.get_attribute("src")
    number = page.get_by_label("number input for Canny low threshold")
    number.fill("10")
    page.locator("#clip-preview", has_text="edges from 10 to 200").wait_for()
    page.get_by_label("number input for Canny high threshold").fill("20")
    page.locator("#clip-preview", has_text="edges from 10 to 20").wait_for()
    assert edges.get_attribute("src") != before
    number.fill("300")
    page.locator("#clip-preview [role=alert]", has_text="low 300").wait_for()


def test_poses_that_are_found_and_the_source_are_shown_before_the_frames(page: Any) -> None:
    page.click("#take-example")
    page.get_by_label("pose", exact=True).check()
    page.locator("#clip-preview").get_by_alt_text("pose 0").wait_for()
    steps(page, 2)
    page.click("#clip-source")
    job = made(page)
    assert job.get_by_alt_text("the source").count() == 1
    assert " source record " in job.locator(".mv-line code").first.text_content()


def test_sources_are_placed_and_dragged_on_the_frames(page: Any, clip: Path) -> None:
    drop(page, clip)
    page.wait_for_selector("#clip-preview img")
    page.get_by_role("button", name="Timeline: several sources").click()
    page.get_by_role("button", name="Add a source").click()
    marker = page.get_by_label("Source from frame 1: generated")
    marker.wait_for()
    page.locator("#timeline").get_by_label("Source", exact=True).select_option("clip")
    marker = page.get_by_label("Source from frame 1: clip")
    marker.wait_for()
    box = marker.bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 9)
    page.mouse.down()
    page.mouse.move(box["x"] - 500, box["y"] + 9, steps=4)  # frame 0 is taken
    page.mouse.up()
    assert marker.count() == 1
    steps(page, 2)
    page.click("#clip-make")
    job = made(page)
    assert "--source-at 0=generated --source-at 1=clip" in job.locator(".mv-line code").first.text_content()
    assert job.get_by_alt_text("source from frame 1").count() == 1
    page.reload()
    made(page)


def test_a_wrong_file_is_told_in_one_line(page: Any, home: Path) -> None:
    wrong = home / "text.mp4"
    wrong.write_text("no video")
    drop(page, wrong)
    told = page.locator("#clip-preview [role=alert]")
    told.wait_for()
    assert "text.mp4" in told.text_content()
    assert str(home) not in told.text_content()
    page.click("#clip-make")
    page.locator("#clip-problem [role=alert], .mv-job .mv-problem").first.wait_for()


def test_a_job_is_stopped_found_again_by_a_reload_and_goes_on(
    page: Any, browser: Any, server: Server, clip: Path, long_clip: Path
) -> None:
    drop(page, long_clip)
    page.wait_for_selector("#clip-preview img")
    steps(page, 40)
    page.click("#clip-make")
    page.locator(".mv-how-far", has_text=re.compile("of 48 frames · step [0-9]+ of 40 · about .* left")).wait_for()
    other = opened(browser, server.url)  # another tab sees it too, and a job of its own waits
    other.locator(".mv-how-far").wait_for()
    drop(other, clip)
    other.wait_for_selector("#clip-preview img")
    steps(other, 2)
    other.click("#clip-make")
    made(other, "Waiting")
    other.locator("#queue", has_text="waits, 1 before it").wait_for()
    page.reload()
    page.locator(".mv-how-far", has_text="of 48 frames").wait_for()
    page.get_by_role("button", name="Stop", exact=True).locator("visible=true").click()
    made(page, "Stopped")
    made(other)
    wait_until_it_plays(other)
    assert other.url != page.url
    page.reload()
    made(page, "Stopped")
    page.get_by_role("button", name="Go on", exact=True).locator("visible=true").click()
    made(page, "Working")
    page.get_by_role("button", name="Stop", exact=True).locator("visible=true").click()
    made(page, "Stopped")
    other.context.close()


def test_stills_and_a_grid_whose_cells_set_a_clip(page: Any) -> None:
    choose_tab(page, "Stills")
    steps(page, 2)
    page.click("#synthesize-make")
    assert made(page).get_by_alt_text("all pictures on one sheet").count() == 1
    page.get_by_role("tab", name="Grid").click()
    steps(page, 2)
    page.get_by_label("Rows").locator("visible=true").fill("masa_step=0,1")
    page.get_by_label("Columns").locator("visible=true").fill("masa_layer=8,10")
    page.click("#sweep-make")
    cell = page.get_by_role("button", name="Take masa_step 1, masa_layer 10 for clips")
    cell.wait_for()
    made(page)
    cell.click()
    page.locator("#clip-make").locator("visible=true").wait_for()
    for title in ("All other settings", "Attention"):
        page.get_by_role("button", name=title).locator("visible=true").first.click()
    assert page.get_by_label("Masa step", exact=True).locator("visible=true").input_value() == "1"
    assert page.get_by_label("Masa layer", exact=True).locator("visible=true").input_value() == "10"


def test_joints_are_dragged_and_key_poses_become_a_clip(page: Any, home: Path) -> None:
    choose_tab(page, "Poses")
    wrist = page.get_by_label("right wrist", exact=True)
    wrist.wait_for()
    before = wrist.get_attribute("cx")
    box = wrist.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 60, box["y"] - 60, steps=4)
    page.mouse.up()
    assert float(wrist.get_attribute("cx")) < float(before)
    wrist.press("ArrowRight")
    page.click("#poses-add")
    page.get_by_role("button", name="frame 12").click()
    page.get_by_label("nose", exact=True).press("Delete")
    page.get_by_label("nose, not seen").wait_for()
    page.click("#poses-make")
    page.locator("#poses-shown", has_text="13 poses").wait_for()
    page.locator("#poses-use:not([disabled])").click()
    page.locator("#clip-preview", has_text="13 frames").wait_for()
    page.locator("#clip-make").locator("visible=true").wait_for()
    choose_tab(page, "Poses")
    page.locator("#poses-file input[type=file]").set_input_files(str(example_clip(home)))
    page.get_by_role("button", name="frame 11").wait_for()


def test_a_character_is_made_renamed_and_given_away(page: Any) -> None:
    choose_tab(page, "Characters")
    page.locator("#character-name textarea, #character-name input").first.fill("bo")
    steps(page, 2)
    page.click("#character-make")
    made(page)
    page.get_by_alt_text("bo").wait_for()
    choose = page.get_by_label("Character", exact=True)
    choose.click()
    page.get_by_role("option", name="bo").click()
    page.locator("table", has_text="a bear in a red shirt").wait_for()
    page.get_by_label("New name").fill("bobo")
    page.click("#character-rename")
    page.get_by_alt_text("bobo").wait_for()
    page.click("#character-export")
    with page.expect_download() as download:
        page.get_by_role("link", name="bobo.zip").or_(page.locator("a[download]", has_text="KB")).first.click()
    assert Path(download.value.path()).read_bytes()[:2] == b"PK"


def test_a_comic_is_drawn(page: Any) -> None:
    choose_tab(page, "Comic")
    story = "settings: {num_inference_steps: 2}\npanels:\n  - prompt: a bear waving in the meadow\n    pose: waving\n"
    page.locator("#comic-story textarea").fill(story)
    page.get_by_role("button", name="The page as it is written").click()
    page.locator("#comic-live").get_by_alt_text("page 1 so far").wait_for()
    page.click("#comic-make")
    assert made(page).get_by_alt_text("page 1").count() == 1
    page.get_by_role("button", name="Add a panel").click()
    page.locator("#panel-prompt textarea, #panel-prompt input").fill("a bear sitting in the snow")
    page.get_by_label("Balloon", exact=True).fill("Brr: cold!")
    page.click("#panel-add")
    page.wait_for_function("document.querySelector('#comic-story textarea').value.includes(\"text: 'Brr: cold!'\")")
    page.locator("#comic-story textarea").fill("panels: [{no: 1}]")
    page.locator("#comic-live [role=alert]", has_text="panels").wait_for()
    page.click("#comic-make")
    page.locator("#comic-problem [role=alert]", has_text="panels").wait_for()


def test_runs_are_opened_again_and_compared(page: Any, clip: Path, server: Server) -> None:
    choose_tab(page, "Runs")
    names = [path.name for path in sorted(server.folder.iterdir()) if path.name.endswith("render")]
    assert names
    for label in ("Job", "First", "Second"):
        page.get_by_label(label, exact=True).click()
        page.get_by_role("option").filter(has_text=re.compile(r"\d  Clip: .*\(done\)")).first.click()
    made(page)
    page.locator("[role=tabpanel]:visible", has_text="All settings that change a picture are the same").wait_for()
    page.click("#runs-take-up")
    page.locator("#clip-preview img").first.wait_for()
    page.locator("#clip-make").wait_for()


def test_the_doctor_looks_at_this_machine(page: Any) -> None:
    choose_tab(page, "Doctor")
    page.click("#doctor-look")
    page.locator("#doctor-found", has_text="ffmpeg").wait_for()
    page.click("#cache-list")
    page.locator("#cache-found", has_text="in ").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_for_those_who_need_help_to_read(browser: Any, server: Server, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, found = opened(browser, server.url, color_scheme=scheme), []
    for name in TABS:
        choose_tab(page, name)
        page.wait_for_timeout(300)
        for fault in Axe().run(page).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                found.append((name, fault["id"], fault["nodes"][0]["html"][:120]))
    page.context.close()
    assert found == []


def asked(server: Server, path: str, **options: Any) -> int:
    """The status that a request is answered with."""
    request = urllib.request.Request(server.url.rstrip("/") + path, **options)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError):
        return 0  # it was hung up on before all was sent


def test_attacks_are_refused_and_change_nothing(server: Server, home: Path) -> None:
    (home / "secret.txt").write_text("secret")
    link = server.folder / "uploads" / "link.txt"
    link.symlink_to(home / "secret.txt")
    before = sorted(path.name for path in server.folder.iterdir())
    route = "/gradio_api/file="
    for name in (
        "/etc/passwd",
        f"{server.folder}/../secret.txt",
        str(link),
        f"{server.folder}/.server",
        "http://a.b/c",
    ):
        assert asked(server, route + quote(name, safe="/:")) == 403, name
        assert asked(server, route + quote(name, safe="")) == 403, name
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="../../a.txt"\r\n\r\nhello\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    upload = "/gradio_api/upload"
    assert asked(server, upload, data=form, headers={**kind, "Origin": "http://evil.example"}) == 403
    assert asked(server, upload, data=form, headers={**kind, "Content-Length": str(10 << 30)}) == 413
    assert asked(server, "/", headers={"Host": "evil.example"}) == 403
    large = form.replace(b"hello", b"0" * (52 << 20))
    assert asked(server, upload, data=large, headers=kind) in (0, 413)
    assert asked(server, upload, data=form, headers=kind) == 200
    assert not (server.folder / "a.txt").exists()
    assert not (home / "a.txt").exists()
    assert sorted(path.name for path in server.folder.iterdir()) == before


def test_a_page_with_a_password_shows_nothing_without_it(home: Path) -> None:
    server = Server(home / "locked", home, "--auth", "ann:secret")
    (server.folder / "uploads" / "a.txt").write_text("a")
    assert asked(server, f"/gradio_api/file={server.folder}/uploads/a.txt") == 401
    assert asked(server, "/config") == 401
    assert asked(server, "/gradio_api/upload", data=b"") == 401
    server.end()


def test_a_picture_of_fifty_thousand_pixels_is_refused(page: Any, home: Path) -> None:
    huge = home / "huge.png"
    Image.new("1", (50_000, 50_000)).save(huge)
    choose_tab(page, "Stills")
    page.get_by_role("tab", name="Change a picture").click()
    panel(page).locator("input[type=file]").first.set_input_files(str(huge))
    page.get_by_text("huge.png").locator("visible=true").first.wait_for()
    page.click("#edit-make")
    page.locator("[role=alert]:visible", has_text="huge.png").wait_for()


def test_a_server_that_is_killed_goes_on_with_its_jobs(browser: Any, home: Path) -> None:
    server = Server(home / "killed", home)
    page = opened(browser, server.url)
    drop(page, written_clip(home / "four.mp4", 4))
    page.wait_for_selector("#clip-preview img")
    steps(page, 12)
    page.click("#clip-make")
    page.locator(".mv-how-far", has_text="step ").wait_for()
    address = urlsplit(page.url)
    server.kill()
    job = json.loads(next(server.folder.glob("*/job.json")).read_text())
    assert job["state"] == "running"
    again = Server(home / "killed", home)
    try:
        page = opened(browser, f"{again.url}?{address.query}")
        made(page)
        wait_until_it_plays(page)
    finally:
        again.end()
    assert len(list(again.folder.glob("*/out.mp4"))) == 1
