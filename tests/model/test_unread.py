"""What of prompts is not read as it stands is told, in one line for each."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_families
import tiny_flux
import tiny_models
from transformers import CLIPTokenizer

from masactrl_video.jobs.run.prompts import prompts_of
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.unread import tell_unread, words_left_out
from masactrl_video.settings.settings import Settings


def tokenizer(limit: int | None = None) -> Any:
    loaded = CLIPTokenizer.from_pretrained(tiny_models.TOKENIZER)
    if limit is not None:
        loaded.model_max_length = limit
    return loaded


def warnings_of(caplog: pytest.LogCaptureFixture, pipe: Any, *prompts: tuple[str, str]) -> list[str]:
    caplog.clear()
    with caplog.at_level("WARNING"):
        tell_unread(pipe, prompts)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("limit", [8, 12, 32])
def test_the_words_past_the_tokenizers_own_limit(limit: int) -> None:
    pipe = SimpleNamespace(tokenizer=tokenizer(limit))
    room = limit - 2
    assert list(words_left_out(pipe, "red " * room)) == []
    (found,) = words_left_out(pipe, "red " * room + "Bear, in the  snow")
    assert found == ("the text encoder", limit, "Bear, in the  snow")


def test_a_word_that_is_cut_in_two_is_named_whole() -> None:
    pipe = SimpleNamespace(tokenizer=tokenizer(8))
    (found,) = words_left_out(pipe, "red red red red red zxqkvzxqkv snow")
    assert found[2] == "zxqkvzxqkv snow"
    (found,) = words_left_out(pipe, "小明在雪地里跑步" * 20)
    assert 0 < len(found[2]) < 160


def test_a_tokenizer_without_offsets_says_it_in_its_own_spelling() -> None:
    class Slow:
        is_fast = False

        def __init__(self) -> None:
            self._of, self.model_max_length = tokenizer(8), 8
            self.decode, self.num_special_tokens_to_add = self._of.decode, self._of.num_special_tokens_to_add

        def __call__(self, prompt: str, return_offsets_mapping: bool, **more: Any) -> Any:
            assert not return_offsets_mapping
            return self._of(prompt, **more)

    (found,) = words_left_out(SimpleNamespace(tokenizer=Slow()), "red red red red red red Bear")
    assert found[2] == "bear"


def test_both_text_encoders_are_asked(caplog: pytest.LogCaptureFixture) -> None:
    prompt = ("prompt", "red " * 40 + "bear")
    alike = SimpleNamespace(tokenizer=tokenizer(), tokenizer_2=tokenizer())
    (told,) = warnings_of(caplog, alike, prompt)
    assert told.startswith("prompt: each of the two text encoders reads 32 tokens; left out from there on: 'red ")
    unlike = SimpleNamespace(tokenizer=tokenizer(64), tokenizer_2=tokenizer(32))
    (told,) = warnings_of(caplog, unlike, prompt)
    assert told.startswith("prompt: the second text encoder reads 32 tokens")
    (told,) = warnings_of(caplog, SimpleNamespace(tokenizer=None, tokenizer_2=tokenizer(32)), prompt)
    assert told.startswith("prompt: the second text encoder")
    assert len(warnings_of(caplog, SimpleNamespace(tokenizer=tokenizer(16), tokenizer_2=tokenizer(32)), prompt)) == 2


@pytest.mark.parametrize(
    ("family", "name", "limit", "first"),
    [
        ("sd3", "the third text encoder", tiny_flux.TOKENS, "Bear"),
        ("zimage", "the text encoder (with the conversation around the prompt)", 64, "Bear"),
        ("qwen", "the text encoder (with the conversation around the prompt)", 1058, ""),
        ("pixart", "the text encoder", tiny_flux.TOKENS, "bear"),
        ("chroma", "the text encoder", tiny_flux.TOKENS, "Bear"),
        ("wan", "the text encoder", tiny_flux.TOKENS, "Bear"),
    ],
)
def test_no_family_leaves_out_words_unsaid(family: str, name: str, limit: int, first: str) -> None:
    """What it names is the prompt's alone, not the conversation's, in which that stands."""
    pipe = tiny_families.pipeline(family)
    prompt = "a Bear in the snow " * (220 if limit > 1000 else 13) + "last"
    found = {told: (most, words) for told, most, words in words_left_out(pipe, prompt)}
    most, words = found[name]
    assert most == limit
    assert first in ("", words.split()[0])
    assert words.endswith("last")
    assert list(words_left_out(pipe, "a bear")) == []


def test_each_text_is_told_once_under_its_name(caplog: pytest.LogCaptureFixture) -> None:
    pipe = SimpleNamespace(tokenizer=tokenizer())
    long = "red " * 40
    told = warnings_of(caplog, pipe, ("prompt", long), ("source_prompt", long), ("negative_prompt", long + "bear"))
    assert [line.partition(":")[0] for line in told] == ["prompt", "negative_prompt"]
    assert all("\n" not in line and len(line) < 500 for line in warnings_of(caplog, pipe, ("prompt", "red " * 5000)))
    assert warnings_of(caplog, pipe, ("prompt", "a bear (brown)"), ("negative_prompt", "")) == []


def test_marks_of_other_programs_are_told(caplog: pytest.LogCaptureFixture) -> None:
    (told,) = warnings_of(caplog, SimpleNamespace(tokenizer=tokenizer()), ("prompt", "(bear:1.3) <lora:x:1>"))
    assert told.startswith("prompt: (bear:1.3), <lora:x:1>: marks of other programs (A1111, ComfyUI)")
    assert told.endswith("LoRAs are given with --lora")


def test_a_run_has_the_prompts_that_are_read() -> None:
    every = {"prompt": "a", "negative_prompt": "b", "source_prompt": "c"}
    settings = Settings.model_validate({"clip": "c", "model": "demo", "guidance": [], **every})
    assert list(prompts_of(settings)) == [*every.items()]
    assert "negative_prompt" not in dict(prompts_of(settings.model_copy(update={"guidance_scale": 1.0})))
    assert dict(prompts_of(settings, "prompt of panel 1", " of panel 1"))["negative_prompt of panel 1"] == "b"


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_the_libraries_do_not_say_it_again(layout: str, caplog: pytest.LogCaptureFixture) -> None:
    pipe = tiny_models.sd1_pipeline() if layout == "sd1" else tiny_models.sdxl_pipeline()
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    ear, libraries = Ear(), [logging.getLogger(name) for name in ("diffusers", "transformers")]
    for library in libraries:
        library.addHandler(ear)
    try:
        pipe.encode_prompt("red " * 60, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True)
        assert heard
        heard.clear()
        for name in ("tokenizer", "tokenizer_2"):
            if getattr(pipe, name, None) is not None:
                setattr(pipe, name, tokenizer())  # one that has not said it yet
        encode_prompt(DiffusionModel(pipe), "red " * 60, "blue " * 60, 7.5, (64, 64))
        assert heard == []
        logging.getLogger(type(pipe).__module__).warning("weights were dropped")
        assert heard == ["weights were dropped"]
    finally:
        for library in libraries:
            library.removeHandler(ear)
