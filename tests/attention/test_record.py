"""A source recorded in memory from a plain pipeline call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from masactrl_video.attention.record import record_source
from masactrl_video.attention.recorded import branch_rows
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED
from masactrl_video.model.backbones.steps import index_of_timestep
from masactrl_video.model.backbones.unet.layers import self_attention_layers
from masactrl_video.model.prompts import find_words

Draw = Callable[..., torch.Tensor]
PROMPT = "a bear in the meadow"


def test_recording_changes_nothing(pipe: Any, draw: Draw) -> None:
    plain = draw(pipe, PROMPT)
    before = pipe.unet.attn_processors
    with record_source(pipe.unet, masa_layer=0):
        assert torch.equal(draw(pipe, PROMPT), plain)
    assert pipe.unet.attn_processors == before
    assert not pipe.unet._forward_hooks
    assert not pipe.unet._forward_pre_hooks


def test_keys_and_values_are_those_that_the_layers_used(pipe: Any, draw: Draw) -> None:
    layers = self_attention_layers(pipe.unet)[-4:]
    seen: dict[str, list[torch.Tensor]] = {}
    handles = [
        pipe.unet.get_submodule(f"{layer.name}.{part}").register_forward_hook(
            lambda _, args, out, name=f"{layer.name}.{part}": seen.setdefault(name, []).append(out)
        )
        for layer in layers
        for part in ("to_k", "to_v")
    ]
    draw(pipe, PROMPT)
    for handle in handles:
        handle.remove()
    with record_source(pipe.unet, masa_layer=layers[0].index) as source:
        draw(pipe, PROMPT)
    assert list(source.layers) == [layer.name for layer in layers]
    assert list(source.branches) == list(GUIDED)
    assert source.timesteps == [float(t) for t in pipe.scheduler.timesteps]
    assert list(source.steps) == list(range(len(source.timesteps)))
    for step in source.steps:
        record = source.read(step)
        assert record.object_map is None
        for layer in layers:
            assert torch.equal(record.keys[layer.name], seen[f"{layer.name}.to_k"][step])
            assert torch.equal(record.values[layer.name], seen[f"{layer.name}.to_v"][step])


def test_the_object_map_of_each_step_is_kept(sd1: Any, draw: Draw) -> None:
    tokens = find_words(sd1.tokenizer, PROMPT, ["bear"])
    with record_source(sd1.unet, object_tokens=tokens) as source:
        draw(sd1, PROMPT)
    maps = [source.read(step).object_map for step in source.steps]
    for object_map in maps:
        assert object_map is not None
        assert object_map.shape == (2, 3)  # latents of 8 x 12 by the default divisor of 4
        assert (object_map.min(), object_map.max()) == (0, 1)


def test_layers_between_the_maps_keep_the_map_as_it_was_there(sd1: Any, draw: Draw) -> None:
    tokens, layers = find_words(sd1.tokenizer, PROMPT, ["bear"]), self_attention_layers(sd1.unet)
    with record_source(sd1.unet, masa_layer=3, object_tokens=tokens) as source:
        draw(sd1, PROMPT)
    with record_source(sd1.unet, masa_layer=10, object_tokens=tokens) as late:
        draw(sd1, PROMPT)
    for step in source.steps:
        record, whole = source.read(step), late.read(step)
        assert set(record.early_maps) == {layer.name for layer in layers[5:10]}  # maps come from 4, 5, 7, 8 and 9
        assert torch.equal(record.early_maps[layers[6].name], record.early_maps[layers[7].name])
        assert not torch.equal(record.early_maps[layers[7].name], record.early_maps[layers[8].name])
        assert record.object_map_at(layers[8].name) is record.early_maps[layers[8].name]
        assert record.object_map_at(layers[10].name) is record.object_map
        assert record.object_map is not None
        assert whole.object_map is not None
        assert torch.equal(record.object_map, whole.object_map)
        assert whole.early_maps == {}


def test_more_than_one_image_is_refused(sd1: Any, draw: Draw) -> None:
    with pytest.raises(UserError, match="4 rows where 2"), record_source(sd1.unet):
        draw(sd1, PROMPT, num_images_per_prompt=2, latents=torch.zeros(2, 4, 8, 12))


def test_recording_says_when_guidance_is_not_as_told(sd1: Any, draw: Draw) -> None:
    with pytest.raises(UserError, match="1 rows where 2"), record_source(sd1.unet):
        draw(sd1, PROMPT, guidance_scale=1.0)
    with pytest.raises(UserError, match="2 rows where 1"), record_source(sd1.unet, branches=UNGUIDED):
        draw(sd1, PROMPT)


def test_a_second_run_into_the_same_source_is_refused(sd1: Any, draw: Draw) -> None:
    with pytest.raises(UserError, match="came twice"), record_source(sd1.unet):
        draw(sd1, PROMPT)
        draw(sd1, PROMPT)


def test_the_unet_is_as_before_after_an_error(sd1: Any, draw: Draw) -> None:
    plain, before = draw(sd1, PROMPT), sd1.unet.attn_processors
    with pytest.raises(UserError), record_source(sd1.unet):
        draw(sd1, PROMPT, guidance_scale=1.0)
    assert sd1.unet.attn_processors == before
    assert torch.equal(draw(sd1, PROMPT), plain)


def test_a_processor_swapped_away_while_recording_is_found(sd1: Any, draw: Draw) -> None:
    with (
        pytest.raises(RuntimeError, match="was not recorded: its processor was never called"),
        record_source(sd1.unet),
    ):
        sd1.unet.set_attn_processor(AttnProcessor())
        draw(sd1, PROMPT)


def test_recorded_branches_are_found_by_name() -> None:
    assert branch_rows(GUIDED, GUIDED) == [0, 1]
    assert branch_rows(GUIDED, UNGUIDED) == [1]
    assert branch_rows(("shared",), GUIDED) == [0]
    with pytest.raises(UserError, match="recorded without its unconditional branch"):
        branch_rows(UNGUIDED, GUIDED)


def test_a_step_is_known_by_its_timestep() -> None:
    assert index_of_timestep([801.0, 401.0, 1.0], 401.0) == 1
    with pytest.raises(UserError, match=r"timestep 400 is not among the source's 3 steps \(801 to 1\)"):
        index_of_timestep([801.0, 401.0, 1.0], 400.0)
    with pytest.raises(UserError, match="more than once"):
        index_of_timestep([801.0, 401.0, 401.0], 401.0)
    with pytest.raises(UserError, match=r"0 steps \(none\)"):
        index_of_timestep([], 1.0)


def test_a_call_with_mixed_timesteps_is_refused(sd1: Any) -> None:
    text = torch.zeros(2, 5, sd1.unet.config.cross_attention_dim)
    with pytest.raises(UserError, match="mixes the timesteps"), record_source(sd1.unet), torch.no_grad():
        sd1.unet(torch.zeros(2, 4, 8, 8), torch.tensor([1, 2]), text)
