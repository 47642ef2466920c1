"""Prompts as the UNet reads them, and where words stand in them."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch
from transformers import CLIPTokenizer

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.unet.prompts import UNetText
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words

SIZE = (64, 128)
PROMPT = "a red bear in the red meadow"


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(tiny_models.TOKENIZER)


def tokens_of(tokenizer: Any, prompt: str) -> list[str]:
    return [tokenizer.decode([token]).strip() for token in tokenizer(prompt).input_ids]


def test_a_word_is_found_where_it_stands(tokenizer: Any) -> None:
    (position,) = find_words(tokenizer, PROMPT, ["bear"])
    assert tokens_of(tokenizer, PROMPT)[position] == "bear"


def test_a_repeated_word_is_found_everywhere(tokenizer: Any) -> None:
    positions = find_words(tokenizer, PROMPT, ["red"])
    assert [tokens_of(tokenizer, PROMPT)[position] for position in positions] == ["red", "red"]


def test_several_words_may_be_given_apart_or_as_one(tokenizer: Any) -> None:
    bear, both = find_words(tokenizer, PROMPT, ["bear"]), find_words(tokenizer, PROMPT, ["red bear"])
    assert both == (bear[0] - 1, bear[0])
    assert find_words(tokenizer, PROMPT, ["meadow", "bear", "bear"]) == tuple(
        sorted(find_words(tokenizer, PROMPT, ["meadow"]) + bear)
    )


def test_a_word_of_several_tokens_is_found_whole(tokenizer: Any) -> None:
    word = "zxqk"
    length = len(tokenizer(word, add_special_tokens=False).input_ids)
    assert length > 1
    assert find_words(tokenizer, f"a {word} bear", [word]) == tuple(range(2, 2 + length))


@pytest.mark.parametrize("word", ["panda", "be", "bear red", ""])
def test_a_word_that_is_not_in_the_prompt_is_refused(tokenizer: Any, word: str) -> None:
    with pytest.raises(UserError, match=r"mask_words: .* is not in the prompt"):
        find_words(tokenizer, PROMPT, [word])


def test_a_word_behind_what_is_read_is_refused(tokenizer: Any) -> None:
    room = tokenizer.model_max_length - 2  # for the marks of start and end
    assert find_words(tokenizer, "red " * (room - 1) + "bear", ["bear"]) == (room,)
    with pytest.raises(UserError, match=f"its first {room + 2} tokens"):
        find_words(tokenizer, "red " * room + "bear", ["bear"])


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
@pytest.mark.parametrize("negative", ["", "blue"])
@pytest.mark.parametrize("guided", [True, False])
def test_the_unet_reads_what_a_plain_pipeline_call_gives_it(layout: str, negative: str, guided: bool) -> None:
    pipe = tiny_models.sd1_pipeline() if layout == "sd1" else tiny_models.sdxl_pipeline()
    seen: dict[str, Any] = {}
    pipe.unet.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)
    pipe(
        PROMPT,
        negative_prompt=negative or None,
        num_inference_steps=1,
        guidance_scale=5.0 if guided else 1.0,
        height=SIZE[0],
        width=SIZE[1],
        output_type="latent",
    )
    text = encode_prompt(DiffusionModel(pipe), PROMPT, negative, 5.0 if guided else 1.0, SIZE)
    ours = text.for_frames(1)
    assert text.branches == (2 if guided else 1)
    assert torch.equal(ours["encoder_hidden_states"], seen["encoder_hidden_states"])
    if layout == "sdxl":
        for key, value in seen["added_cond_kwargs"].items():
            assert torch.equal(ours["added_cond_kwargs"][key], value)
    else:
        assert "added_cond_kwargs" not in ours


def test_frames_are_repeated_branch_by_branch() -> None:
    text = UNetText(torch.tensor([0.0, 1.0]).reshape(2, 1, 1).expand(2, 3, 4))
    rows = text.for_frames(3)["encoder_hidden_states"]
    assert rows[:, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_branches_are_equal_only_where_both_prompts_are() -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    assert encode_prompt(model, "", "", 7.5, SIZE).branches_are_equal()
    assert not encode_prompt(model, "bear", "", 7.5, SIZE).branches_are_equal()
    both = encode_prompt(model, "bear", "blue", 7.5, SIZE)
    assert torch.equal(both.branch(1).hidden_states, encode_prompt(model, "bear", "", 1.0, SIZE).hidden_states)
