"""A loaded diffusers pipeline under mutual self-attention: it acts where it must, and is gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import side_by_side
import tiny_models
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import plan_control
from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import control_attention, use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import UNGUIDED
from masactrl_video.model.backbones.unet.layers import self_attention_layers
from masactrl_video.model.prompts import find_words

Draw = Callable[..., torch.Tensor]
SOURCE, TARGET = "a bear in the meadow", "a panda in the snow"
STEPS = 4


def record(pipe: Any, draw: Draw, **arguments: Any) -> Any:
    with record_source(pipe.unet, masa_layer=0, **arguments) as source:
        draw(pipe, SOURCE)
    return source


@pytest.fixture
def untouched(sd1: Any, draw: Draw) -> Iterator[None]:
    """The UNet is afterwards what it was before: the same processors, no hooks, the same picture."""
    plain, before = draw(sd1, TARGET), sd1.unet.attn_processors
    yield
    after = sd1.unet.attn_processors
    assert after.keys() == before.keys()
    assert all(after[key] is before[key] for key in before)
    assert not sd1.unet._forward_hooks
    assert not sd1.unet._forward_pre_hooks
    assert torch.equal(draw(sd1, TARGET), plain)


def test_s_past_the_last_step_is_the_plain_pipeline(pipe: Any, draw: Draw) -> None:
    source = record(pipe, draw)
    plain = draw(pipe, TARGET)
    plan = plan_control(pipe.unet, STEPS, masa_step=STEPS, masa_layer=0)
    with control_attention(pipe.unet, source, plan) as control:
        assert torch.equal(draw(pipe, TARGET), plain)
    assert (control.count.calls.total(), control.count.fired.total()) == (STEPS, 0)


def test_l_past_the_last_layer_is_the_plain_pipeline(sd1: Any, draw: Draw) -> None:
    source = record(sd1, draw)
    plain = draw(sd1, TARGET)
    with control_attention(sd1.unet, source, plan_control(sd1.unet, STEPS, masa_step=0, masa_layer=16)):
        assert torch.equal(draw(sd1, TARGET), plain)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, "masa_step: none of the 4 denoising steps is controlled.*0 to 3"),
        ({"masa_step": 99}, "none of the 4"),
        ({"masa_steps": []}, "none of the 4"),
        ({"masa_step": 0, "masa_layer": 16}, "masa_layer: no layer is controlled"),
        ({"masa_step": 0, "masa_layers": []}, "masa_layer: no layer is controlled"),
    ],
)
def test_control_that_would_never_act_is_refused(sd1: Any, draw: Draw, where: dict[str, Any], message: str) -> None:
    source = record(sd1, draw)
    with pytest.raises(UserError, match=message), use_source(sd1.unet, source, **where):
        pass


def test_a_run_that_ends_before_the_first_controlled_step_is_an_error(sd1: Any, draw: Draw) -> None:
    source = record(sd1, draw)

    def stop(pipe: Any, step: int, timestep: Any, kwargs: Any) -> Any:
        pipe._interrupt = True
        return kwargs

    with (
        pytest.raises(RuntimeError, match="the source was never used: the denoiser was called at steps 0 of 4"),
        use_source(sd1.unet, source, masa_step=2),
    ):
        draw(sd1, TARGET, callback_on_step_end=stop)


@pytest.mark.parametrize("mode", ["source", "union"])
def test_from_the_first_step_and_layer_the_sources_prompt_gives_the_source(pipe: Any, draw: Draw, mode: Any) -> None:
    source, picture = record(pipe, draw), draw(pipe, SOURCE)
    with use_source(pipe.unet, source, masa_step=0, masa_layer=0, mode=mode):
        assert (draw(pipe, SOURCE) - picture).abs().max() < 1e-4


def test_the_source_has_its_influence_and_every_layer_fired(pipe: Any, draw: Draw) -> None:
    source, plain = record(pipe, draw), draw(pipe, TARGET)
    layers = len(source.layers)
    with use_source(pipe.unet, source, masa_step=1, masa_layer=layers - 4) as control:
        controlled = draw(pipe, TARGET)
    assert (controlled - plain).abs().max() > 1e-3
    assert control.count.fired == {(step, name): 1 for step in range(1, STEPS) for name in source.layers[-4:]}
    assert control.check_fired(calls_per_step=1)["controlled_attention_calls"] == 3 * 4


def test_explicit_steps_and_layers_are_those_controlled(sd1: Any, draw: Draw) -> None:
    source = record(sd1, draw)
    with use_source(sd1.unet, source, masa_steps=[2], masa_layers=["6", "up_blocks.3.attentions.1"]) as control:
        draw(sd1, TARGET)
    assert {(step, source.layers.index(name)) for step, name in control.count.fired} == {(2, 6), (2, 14)}


@pytest.mark.parametrize("mode", ["source", "union", "masked"])
def test_several_targets_in_a_call_are_the_targets_one_by_one(sd1: Any, draw: Draw, mode: Any) -> None:
    source = record(sd1, draw, object_tokens=find_words(sd1.tokenizer, SOURCE, ["bear"]))
    masks = MaskRule(find_words(sd1.tokenizer, TARGET, ["panda"]))
    noise = torch.randn((2, 4, 8, 12), generator=torch.Generator().manual_seed(3))

    def draw_targets(latents: torch.Tensor) -> torch.Tensor:
        with use_source(sd1.unet, source, masa_step=1, mode=mode, masks=masks if mode == "masked" else None):
            return draw(sd1, TARGET, latents=latents, num_images_per_prompt=len(latents))

    together, alone = draw_targets(noise), torch.cat([draw_targets(one[None]) for one in noise])
    assert (together - alone).abs().max() < 1e-4
    assert (alone[0] - alone[1]).abs().max() > 1e-2


def test_without_guidance_a_guided_source_serves_by_its_conditional_branch(sd1: Any, draw: Draw) -> None:
    source = record(sd1, draw)
    with record_source(sd1.unet, masa_layer=0, branches=UNGUIDED) as conditional:
        draw(sd1, SOURCE, guidance_scale=1.0)
    with use_source(sd1.unet, conditional, masa_step=0, branches=UNGUIDED):
        expected = draw(sd1, SOURCE, guidance_scale=1.0)
    assert (expected - draw(sd1, SOURCE, guidance_scale=1.0)).abs().max() < 1e-4
    with use_source(sd1.unet, source, masa_step=0, branches=UNGUIDED):  # other latents on the way, so another source
        assert (draw(sd1, SOURCE, guidance_scale=1.0) - expected).abs().max() > 1e-4


@pytest.mark.usefixtures("untouched")
def test_it_is_off_again_after_the_context(sd1: Any, draw: Draw) -> None:
    source, plain = record(sd1, draw), draw(sd1, TARGET)
    with use_source(sd1.unet, source, masa_step=0):
        assert not torch.equal(draw(sd1, TARGET), plain)


@pytest.mark.usefixtures("untouched")
def test_it_is_off_again_after_an_error_in_the_middle_of_a_run(sd1: Any, draw: Draw) -> None:
    def stop(pipe: Any, step: int, timestep: Any, kwargs: Any) -> Any:
        raise KeyboardInterrupt if step == 2 else LookupError

    source = record(sd1, draw)
    with pytest.raises(LookupError), use_source(sd1.unet, source, masa_step=0):
        draw(sd1, TARGET, callback_on_step_end=stop)


@pytest.mark.usefixtures("untouched")
def test_it_is_off_again_after_a_run_that_does_not_fit(sd1: Any, draw: Draw) -> None:
    source = record(sd1, draw)
    with (
        pytest.raises(UserError, match=r"timestep \d+ is not among the source's 4 steps"),
        use_source(sd1.unet, source, masa_step=0),
    ):
        draw(sd1, TARGET, steps=STEPS + 1)


@pytest.mark.usefixtures("untouched")
def test_a_source_without_a_branch_that_is_needed_is_refused(sd1: Any, draw: Draw) -> None:
    with record_source(sd1.unet, branches=UNGUIDED) as source:
        draw(sd1, SOURCE, guidance_scale=1.0)
    with (
        pytest.raises(UserError, match="recorded without its unconditional branch"),
        use_source(sd1.unet, source, masa_step=0),
    ):
        pass


@pytest.mark.usefixtures("untouched")
def test_a_source_without_a_layer_or_step_that_is_needed_is_refused(sd1: Any, draw: Draw) -> None:
    with record_source(sd1.unet, masa_layer=12) as source:
        draw(sd1, SOURCE)
    with (
        pytest.raises(UserError, match=r"recorded without layer up_blocks\.2"),
        use_source(sd1.unet, source, masa_step=0),
    ):
        pass
    del source.records[3]
    with (
        pytest.raises(UserError, match="recorded without step 3 of 4"),
        use_source(sd1.unet, source, masa_step=0, masa_layer=12),
    ):
        pass


@pytest.mark.usefixtures("untouched")
def test_rows_that_do_not_divide_into_branches_are_refused(sd1: Any, draw: Draw) -> None:
    source = record(sd1, draw)
    with pytest.raises(UserError, match="1 rows, which do not divide"), use_source(sd1.unet, source, masa_step=0):
        draw(sd1, TARGET, guidance_scale=1.0)


def swap_all(unet: Any) -> None:
    unet.set_attn_processor(AttnProcessor())


def swap_one(unet: Any) -> None:
    unet.up_blocks[3].attentions[2].transformer_blocks[0].attn1.set_processor(AttnProcessor2_0())


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("swap", [swap_all, swap_one])
def test_a_processor_swapped_away_meanwhile_is_found(sd1: Any, draw: Draw, swap: Callable[[Any], None]) -> None:
    source = record(sd1, draw)
    with (
        pytest.raises(RuntimeError, match="mutual self-attention was off by 1 calls"),
        use_source(sd1.unet, source, masa_step=1),
    ):
        swap(sd1.unet)
        draw(sd1, TARGET)


def test_a_processor_swapped_away_in_the_middle_is_found(sd1: Any, draw: Draw) -> None:
    def swap_late(pipe: Any, step: int, timestep: Any, kwargs: Any) -> Any:
        if step == 2:
            swap_one(sd1.unet)
        return kwargs

    source = record(sd1, draw)
    with (
        pytest.raises(
            RuntimeError, match=r"at step 3, layer up_blocks\.3\.attentions\.2\..*17 controlled.*expected 18"
        ),
        use_source(sd1.unet, source, masa_step=1),
    ):
        draw(sd1, TARGET, callback_on_step_end=swap_late)


def test_a_step_that_was_never_reached_is_found(sd1: Any, draw: Draw) -> None:
    source = record(sd1, draw)
    with use_source(sd1.unet, source, masa_step=1) as control:
        draw(sd1, TARGET)
    with pytest.raises(RuntimeError, match="calls of the denoiser per denoising step: expected 2, got"):
        control.check_fired(calls_per_step=2)


@pytest.mark.usefixtures("untouched")
def test_a_context_in_which_another_unet_ran_is_an_error(sd1: Any, draw: Draw) -> None:
    source, other = record(sd1, draw), tiny_models.sd1_pipeline()
    with pytest.raises(RuntimeError, match="this denoiser was never called"), use_source(sd1.unet, source, masa_step=0):
        draw(other, TARGET)


def test_masked_mode_needs_masks(sd1: Any, draw: Draw) -> None:
    source = record(sd1, draw)
    with (
        pytest.raises(UserError, match="give the words of the object, or masks"),
        use_source(sd1.unet, source, masa_step=0, mode="masked"),
    ):
        pass
    words = MaskRule(find_words(sd1.tokenizer, TARGET, ["panda"]))
    with (
        pytest.raises(UserError, match="source was recorded without an object map"),
        use_source(sd1.unet, source, masa_step=0, mode="masked", masks=words),
    ):
        draw(sd1, TARGET)
    given = MaskRule(source_mask=torch.ones(8, 12, dtype=torch.bool))
    with (
        pytest.raises(UserError, match="neither words of the object nor target masks"),
        use_source(sd1.unet, source, masa_step=0, mode="masked", masks=given),
    ):
        draw(sd1, TARGET)


@pytest.mark.parametrize("first", [5, 7, 8, 9, 10])
def test_masks_of_source_and_target_are_made_of_the_maps_so_far(sd1: Any, draw: Draw, first: int) -> None:
    """As the official code's automatic masks, which are one for source and target at every controlled layer."""
    tokens = {word: find_words(sd1.tokenizer, prompt, [word]) for word, prompt in (("bear", SOURCE), ("panda", TARGET))}
    source = record(sd1, draw, object_tokens=tokens["bear"])
    masks = MaskRule(tokens["panda"], threshold=0.28)
    with use_source(sd1.unet, source, masa_step=1, masa_layer=first, mode="masked", masks=masks):
        ours = draw(sd1, TARGET)
    layers = self_attention_layers(sd1.unet)
    state = side_by_side.SideBySide(
        layers={layer.name for layer in layers[first:]},
        mode="masked",
        frames=1,
        branches=2,
        grids={layer.block: layer.grid((8, 12)) for layer in layers},
        source_tokens=tokens["bear"],
        target_tokens=tokens["panda"],
        map_blocks=[layers[index].block for index in (4, 5, 7, 8, 9)],
        threshold=0.28,
    )
    texts = [sd1.encode_prompt(prompt, "cpu", 1, True)[:2] for prompt in (SOURCE, TARGET)]
    hidden = torch.cat([text[branch] for branch in (1, 0) for text in texts])

    def call(rows: torch.Tensor, timestep: torch.Tensor, _: int) -> torch.Tensor:
        return sd1.unet(rows, timestep, hidden, return_dict=False)[0]  # type: ignore[no-any-return]

    noise = torch.randn((1, 4, 8, 12), generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1)
    expected = side_by_side.run(sd1.unet, sd1.scheduler, state, range(1, STEPS), noise, call, guidance_scale=4.0)
    assert (ours - expected[1:]).abs().max() < 1e-4


def test_given_masks_of_everything_are_the_unmasked_mode(sd1: Any, draw: Draw) -> None:
    source = record(sd1, draw)
    with use_source(sd1.unet, source, masa_step=1):
        unmasked = draw(sd1, TARGET)
    everything = torch.ones(8, 12, dtype=torch.bool)
    left = torch.arange(12).expand(8, 12) < 6

    def masked(source_mask: torch.Tensor, target_mask: torch.Tensor) -> torch.Tensor:
        with use_source(
            sd1.unet, source, masa_step=1, mode="masked", masks=MaskRule(source_mask=source_mask)
        ) as control:
            control.figures.target_mask = target_mask[None]
            return draw(sd1, TARGET)

    assert (masked(everything, everything) - unmasked).abs().max() < 1e-5
    assert (masked(left, left) - unmasked).abs().max() > 1e-4
    assert (masked(left, ~left) - masked(~left, left)).abs().max() < 1e-5  # figure and ground only swap their names
    assert (masked(left, left) - masked(left, ~left)).abs().max() > 1e-4
