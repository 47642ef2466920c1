"""Sources on disk: the same when they are read, refused where they do not fit or are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from comfyui.stand_in import Model, UNet, sample
from comfyui.test_patching import ALL, prompt

from masactrl_video.comfyui import shelf
from masactrl_video.comfyui.recording import Source, finished, record_source
from masactrl_video.comfyui.using import Part, Where, use_source
from masactrl_video.comfyui.words import Words
from masactrl_video.errors import UserError

NOISE = torch.randn(1, 4, 6, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model(UNet())


def recorded(model: Model, seed: int = 2) -> Source:
    patched, recording = record_source(model)
    return finished(recording, sample(patched, NOISE, prompt(seed)))


def test_a_source_comes_back_bit_for_bit(model: Model, tmp_path: Path) -> None:
    source = recorded(model)
    assert shelf.names(tmp_path / "none") == []
    shelf.save(tmp_path, "hero", source)
    shelf.save(tmp_path, "hero", source)  # the same again
    assert shelf.names(tmp_path) == ["hero"]
    loaded = shelf.load(tmp_path, "hero")
    assert (loaded.schedule, loaded.latent_size, loaded.fit) == (source.schedule, source.latent_size, source.fit)
    made = [sample(use_source(model, Part(each), ALL), NOISE, prompt(3)) for each in (source, loaded)]
    assert torch.equal(*made)


def test_where_the_object_is_comes_back_too(model: Model, tmp_path: Path) -> None:
    words = Words((1,), 2)
    patched, recording = record_source(model, words=words)
    shelf.save(tmp_path, "hero", finished(recording, sample(patched, NOISE, prompt(2))))
    loaded, where = shelf.load(tmp_path, "hero"), Where("masked", 0, 2)
    sample(use_source(model, Part(loaded, target_words=words), where), NOISE, prompt(3))
    assert loaded.knows_object()


def test_a_source_of_other_weights_is_refused(model: Model, tmp_path: Path) -> None:
    shelf.save(tmp_path, "hero", recorded(model))
    with pytest.raises(UserError, match="other weights"):
        use_source(Model(UNet()), Part(shelf.load(tmp_path, "hero")), ALL)


def test_a_name_stays_in_its_folder_and_is_not_taken_twice(model: Model, tmp_path: Path) -> None:
    source = recorded(model)
    for name in ("../hero", "a/b", "", ".hero", "/hero", "a" * 65):
        with pytest.raises(UserError, match="letters, digits"):
            shelf.save(tmp_path, name, source)
        with pytest.raises(UserError, match="letters, digits"):
            shelf.load(tmp_path, name)
    shelf.save(tmp_path, "hero", source)
    with pytest.raises(UserError, match="another source already"):
        shelf.save(tmp_path, "hero", recorded(model, 5))
    with pytest.raises(UserError, match="no source is called villain; there are: hero"):
        shelf.load(tmp_path, "villain")


def test_a_damaged_source_is_refused(model: Model, tmp_path: Path) -> None:
    folder = shelf.save(tmp_path, "hero", recorded(model))
    file = next(folder.rglob("step-0002.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match="cannot be used"):
        shelf.load(tmp_path, "hero")
