"""YAML: keys that stand twice, and words that are text where text is wanted."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import pytest

from masactrl_video.errors import UserError
from masactrl_video.page.story import Story
from masactrl_video.page.story_file import read_story
from masactrl_video.settings.presets import read_config, resolve
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings
from masactrl_video.settings.yaml_file import read_yaml

WORDS = (
    "No",
    "yes",
    "on",
    "off",
    "y",
    "12:30",
    "1999",
    "012",
    "1.10",
    "1_000",
    "0x10",
    "1e3",
    "-0",
    ".inf",
    "2024-01-01",
)


def write(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("seed: 1\nprompt: x\nseed: 2\n", 3, "seed"),
        ("panels:\n- prompt: x\npanels: []\n", 3, "panels"),
        ("controls:\n  a: {kind: pose}\n  a: {kind: canny}\n", 3, "a"),
        ("panels:\n- {prompt: x, prompt: y}\n", 2, "prompt"),
        ("panels:\n- prompt: x\n  balloons:\n  - text: a\n    by: b\n    text: c\n", 6, "text"),
        ("characters:\n  1999: {prompt: x}\n  '1999': {prompt: y}\n", 3, "1999"),
        ("seed: 1\n? seed\n: 2\n", 2, "seed"),
        ("seed: 1\nseed: 1\n", 2, "seed"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path, text: str, line: int, key: str) -> None:
    path = write(tmp_path, text)
    message = refusal(path)
    assert message.startswith(f"{path}: line {line}: the key {key!r} stands in line ")
    with pytest.raises(UserError, match=f"line {line}: the key {key!r}"):
        read_story(path)


@pytest.mark.parametrize("text", ["a: &x {b: 1}\nc: {<<: *x}\n", "a: {<<: {b: 1}}\n"])
def test_what_would_be_merged_is_refused(tmp_path: Path, text: str) -> None:
    assert "are not read; write the value" in refusal(write(tmp_path, text))


@pytest.mark.parametrize("word", WORDS)
def test_words_of_yaml_are_text_where_text_is_wanted(tmp_path: Path, word: str) -> None:
    text = f"""
prompt: {word}
negative_prompt: {word}
source_caption: {word}
revision: {word}
clip: {word}
mask_words: [{word}, bear]
masa_layers: [{word}]
guidance_video: {{canny: {word}}}
controls: {{{word}: {{kind: {word}, model: {word}, variant: {word}}}}}
"""
    expected: dict[str, Any] = dict.fromkeys(("prompt", "negative_prompt", "source_caption", "revision", "clip"), word)
    expected |= {"mask_words": [word, "bear"], "masa_layers": [word], "guidance_video": {"canny": word}}
    expected["controls"] = {word: {"kind": word, "model": word, "variant": word}}
    assert read_config(write(tmp_path, text)) == expected


@pytest.mark.parametrize("word", [word for word in WORDS if word[0].isalnum()])
def test_words_of_yaml_are_text_all_over_a_story(tmp_path: Path, word: str) -> None:
    name = word.replace(":", "-").replace(".", "-")
    text = f"""
settings: {{negative_prompt: {word}, seed: 3}}
characters: {{{name}: {{prompt: {word}, words: [{word}]}}}}
panels:
- {{prompt: {word}, characters: [{name}], caption: {word}, balloons: [{word}, {{text: {word}, by: {name}}}]}}
- {{prompt: x, characters: {{{name}: {{prompt: {word}, words: [{word}]}}}}, caption: {{text: {word}, at: top}}}}
"""
    story = read_story(write(tmp_path, text))
    assert story.settings == {"negative_prompt": word, "seed": 3}
    assert (story.characters[name].prompt, story.characters[name].words) == (word, [word])
    first, second = story.panels
    assert (first.prompt, first.caption and first.caption.text) == (word, word)
    assert [(balloon.text, balloon.by) for balloon in first.balloons] == [(word, None), (word, name)]
    assert second.characters is not None and second.characters[name].prompt == word
    assert second.caption is not None and second.caption.text == word


def test_numbers_booleans_and_nulls_stay_what_they_are_where_they_are_wanted(tmp_path: Path) -> None:
    text = """
clip: c.mp4
model: demo
seed: 0x10
num_inference_steps: 1_0
masa_step: 012
guidance_scale: 1e1
mask_threshold: .5
audio: off
side_by_side: Yes
codec: ~
width: null
source_prompt:
masa_steps: [1, 0x2]
cache_quota: 1_000_000
batch_size: auto
lora: {a.safetensors: 1}
guidance: []
"""
    settings = resolve(read_config(write(tmp_path, text)), {})
    assert (settings.seed, settings.num_inference_steps, settings.masa_step) == (16, 10, 12)
    assert (settings.guidance_scale, settings.mask_threshold) == (10, 0.5)
    assert (settings.audio, settings.side_by_side) == (False, True)
    assert (settings.codec, settings.width, settings.source_prompt, settings.batch_size) == (None, None, None, None)
    assert (settings.masa_steps, settings.cache_quota, settings.lora) == ([1, 2], 1_000_000, {"a.safetensors": 1.0})


@pytest.mark.parametrize(
    "line", ["seed: yes", "seed: 12:30", "seed: 2024-01-01", "seed: ~", "audio: 12:30", "crf: 1.5"]
)
def test_a_word_that_is_no_number_is_refused_as_it_was_written(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(read_config(write(tmp_path, f"clip: c.mp4\nmodel: demo\nguidance: []\n{line}\n")), {})
    assert line.partition(": ")[2] in str(caught.value)


def test_a_tilde_is_text_in_a_balloon_and_nothing_where_that_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path, "panels:\n- {prompt: '[NC] x', caption: ~, balloons: [~, null, 'null']}\n")
    (panel,) = read_story(path).panels
    assert panel.caption is None
    assert [balloon.text for balloon in panel.balloons] == ["~", "null", "null"]


def test_lists_of_still_pictures_are_text_too(tmp_path: Path) -> None:
    path = write(tmp_path, "prompts: [No, 1999]\nseeds: [1, 0x2]\ntarget_guidance: {pose: [on]}\n")
    assert read_config(path, StillSettings) == {
        "prompts": ["No", "1999"],
        "seeds": [1, 2],
        "target_guidance": {"pose": ["on"]},
    }


def test_rows_of_a_layout_are_numbers(tmp_path: Path) -> None:
    data = read_yaml(write(tmp_path, "layout: [[2, 1], {height: 2, widths: [1, .5]}]\n"), Story)
    assert data == {"layout": [[2, 1], {"height": 2, "widths": [1, 0.5]}]}


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_files_of_other_editors_are_read(tmp_path: Path, mark: bytes, ends: str) -> None:
    name = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
    path = tmp_path / "file.yaml"
    path.write_bytes(mark + f"prompt: ein Bär{ends}seed: 3{ends}".encode(name.get(mark, "utf-32-le")))
    assert read_yaml(path, Settings) == {"prompt": "ein Bär", "seed": 3}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("prompt: x\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("prompt: ein Bär\n".encode("latin-1"), r"no text in UTF-8\); save it as UTF-8"),
        (codecs.BOM_UTF16_LE + b"p", "no text in UTF-16"),
    ],
)
def test_other_encodings_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=words):
        read_config(path)


def test_a_tag_that_is_not_plain_data_is_named(tmp_path: Path) -> None:
    assert "line 2: the tag !!set is not read" in refusal(write(tmp_path, "seed: 1\nprompt: !!set {a}\n"))


@pytest.mark.parametrize("text", ["", "# seed: 1\n", "---\n"])
def test_a_file_without_a_key_is_called_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=r"a\.yaml is empty: no key"):
        read_yaml(tmp_path / "a.yaml", Settings)
