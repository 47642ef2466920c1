"""Saved characters: whole or not at all, checked byte by byte, and names that never leave their folder."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from masactrl_video.cli.options import Parser, add_settings, settings_from
from masactrl_video.errors import UserError
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.archive import export_character, import_character
from masactrl_video.sources.characters.caption import with_caption
from masactrl_video.sources.characters.index import (
    INDEX_NAME,
    PICTURE_NAME,
    TENSORS_NAME,
    CharacterDamaged,
    CharacterIndex,
    Recipe,
)
from masactrl_video.sources.characters.store import (
    character_names,
    default_root,
    open_character,
    remove_character,
    save_character,
)


def png(level: int = 3) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (level, 0, 0)).save(out, format="PNG")
    return out.getvalue()


FILES = {PICTURE_NAME: png(), TENSORS_NAME: save({"initial_noise": np.zeros((1, 4, 2, 2), np.float32)})}


def index(name: str = "hero") -> CharacterIndex:
    recipe = Recipe(
        kind="generated", prompt="a bear", negative_prompt="", caption="a bear", words=["bear"], seed=1,
        guidance_scale=4.0, width=8, height=8, model="demo", revision=None, variant=None, lora={}, scheduler="ddim",
        num_inference_steps=4, controls=[], pose=None,
    )  # fmt: skip
    return CharacterIndex(
        format_version=1, name=name, created=datetime(2026, 1, 2, tzinfo=UTC), made_by="0.1.0", recipe=recipe, files={}
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save_character(tmp_path / "characters", index(), FILES, overwrite=False)
    return tmp_path / "characters"


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_what_was_saved_is_opened(root: Path) -> None:
    character = open_character(root, "hero")
    assert character.index.recipe == index().recipe
    assert {name: character.read(name) for name in FILES} == FILES
    assert character_names(root) == ["hero"]
    assert [path.name for path in root.iterdir()] == ["hero"]  # nothing of the making is left


def test_a_name_that_is_taken_is_refused_or_replaced(root: Path) -> None:
    before = everything(root)
    with pytest.raises(UserError, match="'hero' exists"):
        save_character(root, index(), {**FILES, PICTURE_NAME: png(9)}, overwrite=False)
    assert everything(root) == before
    save_character(root, index(), {**FILES, PICTURE_NAME: png(9)}, overwrite=True)
    assert open_character(root, "hero").read(PICTURE_NAME) == png(9)


@pytest.mark.parametrize("name", ["../hero", "a/b", "..", ".", "", "a.b", "/tmp/x", "hero\n", "x" * 65, "-x", "hérо"])
def test_a_name_never_leaves_the_folder(root: Path, name: str) -> None:
    before = everything(root.parent)
    for act in (
        lambda: open_character(root, name),
        lambda: remove_character(root, name),
        lambda: save_character(root, index().model_copy(update={"name": name}), FILES, overwrite=True),
    ):
        with pytest.raises(UserError, match="a name has letters, digits"):
            act()
    assert everything(root.parent) == before


def damage_byte(folder: Path) -> None:
    data = bytearray((folder / TENSORS_NAME).read_bytes())
    data[-1] ^= 1
    (folder / TENSORS_NAME).write_bytes(data)


def change_index(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / INDEX_NAME).read_text())
    (folder / INDEX_NAME).write_text(json.dumps({**content, **changes}))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit": (damage_byte, "another checksum"),
    "cut off": (lambda f: (f / PICTURE_NAME).write_bytes(png()[:-3]), "is not a file of"),
    "gone": (lambda f: (f / PICTURE_NAME).unlink(), "picture.png' is missing"),
    "too much": (lambda f: (f / "more.png").write_bytes(b""), "more.png' is too much"),
    "no index": (lambda f: (f / INDEX_NAME).unlink(), "character.json is missing"),
    "no JSON": (lambda f: (f / INDEX_NAME).write_text("{"), "character.json is wrong at the top"),
    "another name": (lambda f: change_index(f, name="villain"), "belongs to character 'villain'"),
    "another version": (lambda f: change_index(f, format_version=2), "wrong at format_version"),
    "an unknown entry": (lambda f: change_index(f, extra=1), "wrong at extra"),
    "a name outside": (
        lambda f: change_index(f, files={"../x.png": {"bytes": 1, "sha256": "0" * 64}}),
        "wrong at files",
    ),
    "nothing listed": (lambda f: change_index(f, files={}), "picture.png is not listed"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_found_and_the_character_can_be_removed(root: Path, case: str) -> None:
    act, words = DAMAGE[case]
    act(root / "hero")
    with pytest.raises(CharacterDamaged, match=words):
        open_character(root, "hero")
    remove_character(root, "hero")
    assert list(root.iterdir()) == []


def test_a_link_is_refused_and_removed_without_what_it_points_to(root: Path) -> None:
    (root / "link").symlink_to(root / "hero")
    with pytest.raises(CharacterDamaged, match="not an ordinary file"):
        open_character(root, "link")
    remove_character(root, "link")
    assert character_names(root) == ["hero"]
    open_character(root, "hero")


def test_a_file_that_is_not_what_its_name_says_is_never_kept(root: Path) -> None:
    with pytest.raises(CharacterDamaged, match=r"picture\.png is not what its name says"):
        save_character(root, index("other"), {**FILES, PICTURE_NAME: b"\x80\x04pickle"}, overwrite=False)
    with pytest.raises(CharacterDamaged, match=r"source\.safetensors is not what its name says"):
        save_character(root, index("other"), {**FILES, TENSORS_NAME: b"\x80\x04pickle"}, overwrite=False)
    assert [path.name for path in root.iterdir()] == ["hero"]


def test_export_and_import_keep_every_byte(root: Path, tmp_path: Path) -> None:
    export_character(root, "hero", tmp_path / "a.zip")
    export_character(root, "hero", tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with pytest.raises(UserError, match="exists"):
        export_character(root, "hero", tmp_path / "a.zip")
    other = tmp_path / "other"
    import_character(other, tmp_path / "a.zip")
    assert everything(other) == everything(root)
    assert import_character(root, tmp_path / "a.zip", "twin").read(TENSORS_NAME) == FILES[TENSORS_NAME]
    with pytest.raises(UserError, match="'hero' exists"):
        import_character(root, tmp_path / "a.zip")
    with pytest.raises(UserError, match="a name has letters"):
        import_character(root, tmp_path / "a.zip", "../x")


def repacked(source: Path, target: Path, change: Callable[[dict[str, bytes]], None], extra: Any = None) -> Path:
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        if extra is not None:
            archive.writestr(*extra)
    return target


def with_files(entries: dict[str, bytes], **changes: Any) -> None:
    content = json.loads(entries[INDEX_NAME])
    entries[INDEX_NAME] = json.dumps({**content, **changes}).encode()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


HOSTILE: dict[str, tuple[Callable[[dict[str, bytes]], object], Any, str]] = {
    "a path upwards": (lambda e: e.update({"../evil.png": b"x"}), None, r"holds '\.\./evil\.png', which is not part"),
    "an absolute path": (lambda e: e.update({"/tmp/evil": b"x"}), None, "which is not part"),
    "a name upwards": (lambda e: with_files(e, name="../../x"), None, "wrong at name"),
    "a file listed outside": (
        lambda e: with_files(e, files={"../x": {"bytes": 1, "sha256": "0" * 64}}), None, "wrong at files"
    ),
    "a changed byte": (lambda e: e.update({TENSORS_NAME: e[TENSORS_NAME][:-1] + b"\1"}), None, "another checksum"),
    "a bomb": (lambda e: e.update({PICTURE_NAME: bytes(50_000_000)}), None, "picture.png is larger than"),
    "a large index": (lambda e: e.update({INDEX_NAME: bytes(5_000_000)}), None, "character.json is larger than"),
    "a missing file": (lambda e: e.pop(PICTURE_NAME), None, "cannot be read as an exported character"),
    "no index": (lambda e: e.pop(INDEX_NAME), None, "it is no exported character"),
    "a link beside": (lambda e: None, (link("link.png"), "/etc/passwd"), "which is not part"),
    "a pickle": (lambda e: e.update({"weights.pt": b"\x80\x04"}), None, "which is not part"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_an_archive_with_anything_else_is_refused_and_nothing_is_written(root: Path, tmp_path: Path, case: str) -> None:
    change, extra, words = HOSTILE[case]
    export_character(root, "hero", tmp_path / "a.zip")
    hostile = repacked(tmp_path / "a.zip", tmp_path / "hostile.zip", change, extra)  # type: ignore[arg-type]
    before = everything(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        import_character(tmp_path / "new", hostile)
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut off", b"no zip at all" * 100])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(UserError, match="cannot be read as an exported character"):
        import_character(tmp_path / "new", tmp_path / "x.zip")
    with pytest.raises(UserError, match="no such file"):
        import_character(tmp_path / "new", tmp_path / "none.zip")


def test_where_characters_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MASACTRL_VIDEO_CHARACTERS", str(tmp_path / "mine"))
    assert default_root() == tmp_path / "mine"
    monkeypatch.delenv("MASACTRL_VIDEO_CHARACTERS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_root() == tmp_path / "masactrl-video" / "characters"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_root() == Path.home() / ".local" / "share" / "masactrl-video" / "characters"


def test_without_a_prompt_frames_show_what_was_said_of_the_character(root: Path) -> None:
    given = {"clip": "c.mp4", "model": "demo", "guidance": [], "character": "hero", "characters_dir": root}
    settings = Settings.model_validate(given)
    assert with_caption(settings).prompt == "a bear"
    assert with_caption(settings.model_copy(update={"prompt": "a frog"})).prompt == "a frog"
    silent = index("silent")
    silent = silent.model_copy(update={"recipe": silent.recipe.model_copy(update={"prompt": "", "caption": ""})})
    save_character(root, silent, FILES, overwrite=False)
    with pytest.raises(UserError, match="nothing is known of character 'silent'; say with --prompt"):
        with_caption(settings.model_copy(update={"character": "silent"}))


@pytest.mark.parametrize("command", ["render", "animate"])
def test_a_presets_own_prompt_is_of_another_character(command: str) -> None:
    parser = Parser()
    add_settings(parser, command)
    typed = ["clip.mp4", "--character", "hero"]
    assert settings_from(parser.parse_args(["clip.mp4"])).prompt != ""
    assert settings_from(parser.parse_args(typed)).prompt == ""
    assert settings_from(parser.parse_args([*typed, "--prompt", "a frog"])).prompt == "a frog"
