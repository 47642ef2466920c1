"""Record Source and Use Source on a stand-in of ComfyUI's patches."""

from __future__ import annotations

import copy

import pytest
import torch
from comfyui.stand_in import CHANNELS, SIGMAS, Model, UNet, sample
from torch import nn

from masactrl_video.comfyui.recording import Recording, Source, finished, record_source
from masactrl_video.comfyui.using import Part, Where, use_source
from masactrl_video.comfyui.words import Words
from masactrl_video.errors import UserError

ALL = Where("source", 1, 1)


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model(UNet())


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(1, 4, 6, 4, generator=torch.Generator().manual_seed(1))


def prompt(seed: int) -> torch.Tensor:
    return torch.randn(1, 3, CHANNELS, generator=torch.Generator().manual_seed(seed))


def recorded(model: Model, noise: torch.Tensor, seed: int = 2, **options: object) -> Source:
    patched, recording = record_source(model)
    return finished(recording, sample(patched, noise, prompt(seed), **options))


def test_recording_changes_nothing_and_the_given_model_stays(model: Model, noise: torch.Tensor) -> None:
    plain = sample(model, noise, prompt(2))
    patched, recording = record_source(model)
    assert torch.equal(sample(patched, noise, prompt(2)), plain)
    source = finished(recording, plain)
    assert source.recorded.timesteps == SIGMAS[:-1]
    assert source.recorded.branches == ("unconditional", "conditional")
    used = use_source(model, Part(source), ALL)
    assert not torch.equal(sample(used, noise, prompt(3)), sample(model, noise, prompt(3)))
    assert torch.equal(sample(model, noise, prompt(2)), plain)


@pytest.mark.parametrize("mode", ["source", "union"])
def test_the_source_asked_with_its_own_prompt_is_the_source_again(mode: str, model: Model, noise: torch.Tensor) -> None:
    source = recorded(model, noise)
    again = sample(use_source(model, Part(source), Where(mode, 0, 0)), noise, prompt(2))
    assert torch.allclose(again, source.latents, atol=1e-4)


def test_rows_are_told_apart_in_any_order_and_in_calls_of_their_own(model: Model, noise: torch.Tensor) -> None:
    frames = torch.cat([noise, noise.flip(2)])
    made = []
    for recording in ({}, {"together": False}, {"orders": [(0, 1), (1, 0)]}):
        used = use_source(model, Part(recorded(model, noise, **recording)), ALL)
        made += [
            sample(used, frames, prompt(3), **way) for way in ({}, {"together": False}, {"orders": [(0, 1), (1, 0)]})
        ]
    assert all(torch.allclose(each, made[0], atol=1e-5) for each in made)


def test_without_guidance_there_is_one_branch(model: Model, noise: torch.Tensor) -> None:
    source = recorded(model, noise, scale=1.0)
    used = use_source(model, Part(source), Where("source", 0, 0))
    assert torch.allclose(sample(used, noise, prompt(2), scale=1.0), source.latents, atol=1e-4)
    with pytest.raises(UserError, match="recorded without its unconditional branch"):
        sample(used, noise, prompt(2))


def test_a_run_that_was_interrupted_starts_anew(model: Model, noise: torch.Tensor) -> None:
    patched, recording = record_source(model)
    with pytest.raises(KeyboardInterrupt):
        sample(patched, noise, prompt(3), stop_at=2)
    with pytest.raises(UserError, match="nothing is recorded yet"):
        finished(recording, noise)
    source = finished(recording, sample(patched, noise, prompt(2)))
    used = use_source(model, Part(source), ALL)
    whole = sample(used, noise, prompt(3))
    with pytest.raises(KeyboardInterrupt):
        sample(used, noise.flip(3), prompt(4), stop_at=2)
    assert torch.equal(sample(used, noise, prompt(3)), whole)
    assert torch.equal(whole, sample(use_source(model, Part(recorded(model, noise)), ALL), noise, prompt(3)))


def test_two_sources_share_a_graph(model: Model, noise: torch.Tensor) -> None:
    first, second = recorded(model, noise), recorded(model, noise.flip(2), seed=5)
    one = use_source(model, Part(first), ALL)
    alone = sample(one, noise, prompt(3))
    both = use_source(one, Part(second), ALL)
    other_way = use_source(use_source(model, Part(second), ALL), Part(first), ALL)
    assert torch.allclose(sample(both, noise, prompt(3)), sample(other_way, noise, prompt(3)), atol=1e-5)
    assert not torch.allclose(sample(both, noise, prompt(3)), alone, atol=1e-3)
    light = use_source(one, Part(second, weight=0.0), ALL)
    assert torch.allclose(sample(light, noise, prompt(3)), alone, atol=1e-6)
    assert torch.equal(sample(one, noise, prompt(3)), alone)


def test_masks_keep_figure_and_ground_apart(model: Model, noise: torch.Tensor) -> None:
    source, half = recorded(model, noise), torch.zeros(1, 48, 32)
    half[:, :24] = 1
    masked = Where("masked", 0, 0)
    everywhere = use_source(model, Part(source, 1.0, torch.ones(48, 32), torch.ones(1, 48, 32)), masked)
    plain = use_source(model, Part(source), Where("source", 0, 0))
    assert torch.allclose(sample(everywhere, noise, prompt(3)), sample(plain, noise, prompt(3)), atol=1e-5)
    apart = use_source(model, Part(source, 1.0, half[0], half), masked)
    assert not torch.allclose(sample(apart, noise, prompt(3)), sample(plain, noise, prompt(3)), atol=1e-3)
    with pytest.raises(UserError, match="got 2 masks for 1 frames"):
        sample(use_source(model, Part(source, 1.0, half[0], half.repeat(2, 1, 1)), masked), noise, prompt(3))


def test_words_are_looked_for_in_the_attention_to_the_prompt(model: Model, noise: torch.Tensor) -> None:
    words, masked = Words((1,), 2), Where("masked", 0, 2)
    patched, recording = record_source(model, words=words)
    source = finished(recording, sample(patched, noise, prompt(2)))
    record = source.recorded.read(1)
    assert record.object_map is not None and record.object_map.shape == (3, 2)
    used = use_source(model, Part(source, target_words=words), masked)
    whole = sample(used, noise, prompt(3))
    assert torch.allclose(sample(used, noise, prompt(3), together=False), whole, atol=1e-5)
    plain = use_source(model, Part(source), Where("source", 0, 2))
    assert not torch.allclose(whole, sample(plain, noise, prompt(3)), atol=1e-3)
    regions = use_source(model, Part(source, target_words=words), Where("regions", 0, 2))
    assert not torch.allclose(sample(regions, noise, prompt(3)), whole, atol=1e-3)
    half = torch.ones(1, 48, 32)
    assert "give one of the two" in refused(model, Part(source, 1.0, None, half, words), masked)
    assert "give 2 or more, or masks" in refused(model, Part(source, target_words=words), Where("masked", 0, 1))
    assert "words to Record Source" in refused(model, Part(recorded(model, noise), target_words=words), masked)
    with pytest.raises(UserError, match="cross-attention at 1, 2"):
        record_source(model, words=Words((1,)))
    with pytest.raises(UserError, match="stand at token 3, the prompt of this sampler has 3"):
        sample(record_source(model, words=Words((3,), 2))[0], noise, prompt(2))
    with pytest.raises(UserError, match="2 prompts, for areas"):
        sample(used, noise, prompt(3), orders=[(0, 0)])


def test_regions_have_a_source_each(model: Model, noise: torch.Tensor) -> None:
    top = torch.zeros(1, 48, 32)
    top[:, :24] = 1
    where = Where("regions", 0, 0)
    one = use_source(model, Part(recorded(model, noise), target_mask=top), where)
    both = use_source(one, Part(recorded(model, noise.flip(2), 5), target_mask=1 - top), where)
    assert not torch.allclose(sample(one, noise, prompt(3)), sample(both, noise, prompt(3)), atol=1e-3)


def test_steps_are_known_by_their_noise_level(model: Model, noise: torch.Tensor) -> None:
    used = use_source(model, Part(recorded(model, noise)), ALL)
    sample(used, noise, prompt(3), SIGMAS[2:])  # a part of the levels is enough
    with pytest.raises(UserError, match="same scheduler and number of steps"):
        sample(used, noise, prompt(3), [8.0, 3.0, 0.0])


def test_from_the_first_step_on(model: Model, noise: torch.Tensor) -> None:
    source = recorded(model, noise)
    late = sample(use_source(model, Part(source), Where("source", 3, 0)), noise, prompt(3), [8.0, 4.0, 2.0])
    assert torch.equal(late, sample(model, noise, prompt(3), [8.0, 4.0, 2.0]))


def test_only_later_layers_may_be_kept(model: Model, noise: torch.Tensor) -> None:
    patched, recording = record_source(model, 2)
    source = finished(recording, sample(patched, noise, prompt(2)))
    late = Where("source", 1, 2)
    whole = sample(use_source(model, Part(recorded(model, noise)), late), noise, prompt(3))
    assert torch.equal(sample(use_source(model, Part(source), late), noise, prompt(3)), whole)
    assert "without layer middle_0_0" in refused(model, Part(source), ALL)
    with pytest.raises(UserError, match="first_layer: got 3; this model has the layers 0 to 2"):
        record_source(model, 3)


def test_copies_of_a_patched_model_still_record(model: Model, noise: torch.Tensor) -> None:
    patched, recording = record_source(model)
    assert copy.deepcopy(recording) is recording
    finished(recording, sample(patched.clone(), noise, prompt(2)))


def test_what_another_node_replaces_is_left_to_it(
    model: Model, noise: torch.Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    source = recorded(model, noise)
    model.options = {"patches_replace": {"attn1": {("middle", 0, 0): lambda q, k, v, extra: v}}}
    sample(use_source(model, Part(source), ALL), noise, prompt(3))
    assert "another node answers for the attention of block middle_0" in caplog.text


def refused(model: Model, part: Part, where: Where) -> str:
    with pytest.raises(UserError) as error:
        use_source(model, part, where)
    return str(error.value)


def test_what_does_not_fit_is_refused(model: Model, noise: torch.Tensor) -> None:
    part = Part(recorded(model, noise))
    assert "other weights" in refused(Model(UNet()), part, ALL)
    assert "give 0 to 3" in refused(model, part, Where("source", 0, 4))
    assert "steps 0 to 3" in refused(model, part, Where("source", 4, 0))
    assert "target_mask" in refused(model, part, Where("masked", 0, 0))
    assert "source_mask" in refused(model, Part(part.source, target_mask=torch.ones(1, 8, 8)), Where("masked", 0, 0))
    assert "asks no mask" in refused(model, Part(part.source, target_mask=torch.ones(1, 8, 8)), ALL)
    assert "must be those of the one before" in refused(use_source(model, part, ALL), part, Where("union", 1, 1))
    with pytest.raises(UserError, match="Linear is not known; these nodes take UNets"):
        record_source(Model(nn.Linear(1, 1)))


def test_a_source_is_one_picture_and_its_latents_are_its_own(model: Model, noise: torch.Tensor) -> None:
    patched, recording = record_source(model)
    with pytest.raises(UserError, match="one picture of one prompt"):
        sample(patched, noise.repeat(2, 1, 1, 1), prompt(2))
    made = sample(patched, noise, prompt(2))
    with pytest.raises(UserError, match="not those that were recorded"):
        finished(recording, made + 1)
    assert isinstance(recording, Recording)


def test_a_lora_in_use_changes_nothing_of_what_fits(model: Model, noise: torch.Tensor) -> None:
    source = recorded(model, noise)
    name = "diffusion_model.middle_block.0.transformer_blocks.0.attn1.to_k.weight"
    weight = model.model.get_parameter(name)
    model.backup[name] = type("Kept", (), {"weight": weight.detach().clone()})()
    with torch.no_grad():
        weight += 1
    use_source(model, Part(source), ALL)


def test_the_nodes_need_comfyui() -> None:
    with pytest.raises(ImportError, match="runs inside ComfyUI"):
        import masactrl_video.comfyui.nodes  # noqa: F401
