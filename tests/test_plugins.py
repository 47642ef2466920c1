"""What other packages add is found by its entry points; what cannot be used is named in one line."""

from pathlib import Path

import pytest

from masactrl_video.errors import UserError
from masactrl_video.plugins import load_plugin, load_plugins, plugin_names


def installed(folder: Path, name: str, points: str) -> None:
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[masactrl_video.modes]\n{points}\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_an_added_thing_is_found_and_imported_only_when_it_is_asked_for(folder: Path) -> None:
    installed(folder, "first", "path-of-a-file = pathlib:Path\nbroken = no_such_module:x")
    assert {"path-of-a-file", "broken"} <= set(plugin_names("modes"))
    assert load_plugin("modes", "path-of-a-file") is Path


def test_nothing_is_added_under_this_name() -> None:
    with pytest.raises(UserError, match="nothing-of-the-kind: no installed package"):
        load_plugin("modes", "nothing-of-the-kind")


def test_a_package_that_cannot_be_imported_is_named(folder: Path) -> None:
    installed(folder, "first", "broken = no_such_module:x")
    with pytest.raises(UserError, match="broken: the package first could not be imported: No module named"):
        dict(load_plugins("modes"))


def test_two_packages_that_add_the_same_name_are_named(folder: Path) -> None:
    installed(folder, "first", "same = pathlib:Path")
    installed(folder, "second", "same = pathlib:PurePath")
    with pytest.raises(UserError, match="same: the package first and the package second both add it"):
        load_plugin("modes", "same")
