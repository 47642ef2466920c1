"""Two recorded sources in one picture, against a UNet whose attention is spelled out with masked matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny_models
import torch
import torch.nn.functional as F

from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.record import record_source
from masactrl_video.attention.recorded import SHARED, MemorySource, StepRecord
from masactrl_video.attention.use import control_attention
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.steps import StepClock
from masactrl_video.model.backbones.unet.layers import self_attention_layers
from masactrl_video.model.prompts import find_words

Draw = Callable[..., torch.Tensor]
PROMPT, STEPS, FROM = "a bear and a frog in the snow", 4, 1
LATENT = (8, 12)
SIZES = {"bear": (64, 96), "frog": (96, 64)}  # a source may have another shape than the target
LEFT = torch.arange(12).expand(8, 12) < 6


def record(pipe: Any, draw: Draw, word: str) -> MemorySource:
    prompt, (height, width) = f"a {word} in the meadow", SIZES[word]
    noise = torch.randn((1, 4, height // 8, width // 8), generator=torch.Generator().manual_seed(len(word)))
    with record_source(pipe.unet, masa_layer=0, object_tokens=find_words(pipe.tokenizer, prompt, [word])) as source:
        draw(pipe, prompt, latents=noise, height=height, width=width)
    return source


def both(pipe: Any, draw: Draw, region: str) -> list[SourcePart]:
    sources = []
    for word, side in (("bear", LEFT), ("frog", ~LEFT)):
        tokens = find_words(pipe.tokenizer, PROMPT, [word]) if region != "boxes" else ()
        latent_size = (SIZES[word][0] // 8, SIZES[word][1] // 8)
        given = side if region != "words" else None
        sources.append(SourcePart(record(pipe, draw, word), latent_size, tokens, given))
    return sources


def plan_for(pipe: Any, last_layers: int = 6) -> ControlPlan:
    layer = len(self_attention_layers(pipe.unet)) - last_layers
    return plan_control(pipe.unet, STEPS, masa_step=FROM, masa_layer=layer, mode="regions", mask_grid_divisor=4)


class SpelledOut:
    """One UNet's attention, written down again: whole matrices, everybody's keys, and what each query may see."""

    def __init__(self, pipe: Any, sources: list[SourcePart], ground: str, plan: ControlPlan) -> None:
        self.sources, self.ground, self.step, self.maps = sources, ground, 0, [[] for _ in sources]
        layers = self_attention_layers(pipe.unet)
        self.controlled = {layer.name: layer for layer in plan.layers}
        self.blocks = {layer.block: layer for layer in plan.mask_layers}
        self.processors = {key: lambda *a, key=key, **k: self(key, *a, **k) for key in pipe.unet.attn_processors}
        assert layers

    def cut(self, soft: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        return F.interpolate(soft[None, None].float(), size=grid)[0, 0].flatten()

    def whose(self, layer: Any) -> torch.Tensor:
        grid, scores = layer.grid(LATENT), []
        for source, maps in zip(self.sources, self.maps, strict=True):
            score = torch.ones(grid[0] * grid[1])
            if source.target_tokens:
                soft = torch.stack(maps).mean(0)
                score = self.cut((soft - soft.min()) / (soft.max() - soft.min()), grid)
            scores.append(score * self.cut(source.region, grid) if source.region is not None else score)
        a, b = scores
        return torch.where((a >= 0.1) & (a >= b), 0, torch.where(b >= 0.1, 1, -1))

    def __call__(self, key: str, attn: Any, x: torch.Tensor, encoder_hidden_states: Any = None, **_: Any) -> Any:
        def split(t: torch.Tensor) -> torch.Tensor:
            return t.reshape(t.shape[0], t.shape[1], attn.heads, -1).transpose(1, 2)

        name, text = key.removesuffix(".processor"), x if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = split(attn.to_q(x)), split(attn.to_k(text)), split(attn.to_v(text))
        if encoder_hidden_states is not None and (block := name.removesuffix(".attn2")) in self.blocks:
            weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)[1].mean(0)  # the conditional row; mean over heads
            for source, maps in zip(self.sources, self.maps, strict=True):
                maps.append(weights[:, list(source.target_tokens)].sum(-1).reshape(self.blocks[block].grid(LATENT)))
        seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool)
        if name in self.controlled and self.step >= FROM:
            whose = self.whose(self.controlled[name])
            parts, keys, values = [torch.full((k.shape[2],), -1)], [k], [v]
            for number, source in enumerate(self.sources):
                records = source.source.read(self.step)
                figure = self.cut(records.object_map_at(name), self.controlled[name].grid(source.latent_size)) >= 0.1
                parts.append(torch.where(figure, number, -2 - number))
                keys.append(split(records.keys[name]))
                values.append(split(records.values[name]))
            k, v = torch.cat(keys, 2), torch.cat(values, 2)
            looked_at = torch.where(whose == -1, -1 if self.ground == "self" else -2, whose)
            seen = looked_at[:, None] == torch.cat(parts)[None]
        out = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~seen, -torch.inf).softmax(-1) @ v
        return attn.to_out[0](out.transpose(1, 2).reshape(*x.shape[:2], -1))


def spelled_out(pipe: Any, draw: Draw, sources: list[SourcePart], ground: str, plan: ControlPlan) -> torch.Tensor:
    state = SpelledOut(pipe, sources, ground, plan)
    before, timesteps = dict(pipe.unet.attn_processors), list(sources[0].source.timesteps)

    def begin(_: Any, args: Any, kwargs: Any) -> None:
        state.step = timesteps.index(float(args[1]))
        for maps in state.maps:
            maps.clear()

    handle = pipe.unet.register_forward_pre_hook(begin, with_kwargs=True)
    pipe.unet.set_attn_processor(dict(state.processors))
    try:
        return draw(pipe, PROMPT)
    finally:
        handle.remove()
        pipe.unet.set_attn_processor(before)


@pytest.mark.parametrize(("layout", "last_layers"), [("sd1", 6), ("sd1", 8), ("sdxl", 6)])
@pytest.mark.parametrize(("region", "ground"), [("words", "self"), ("boxes", "first"), ("words in boxes", "self")])
def test_two_sources_in_one_picture_are_masked_matrices(
    draw: Draw, layout: str, last_layers: int, region: str, ground: Any
) -> None:
    pipe = getattr(tiny_models, f"{layout}_pipeline")()
    sources, plan = both(pipe, draw, region), plan_for(pipe, last_layers)
    before, plain = pipe.unet.attn_processors, draw(pipe, PROMPT)
    with control_attention(pipe.unet, sources, plan, ground=ground) as control:
        ours = draw(pipe, PROMPT)
    assert (ours - spelled_out(pipe, draw, sources, ground, plan)).abs().max() < 1e-4
    assert (ours - plain).abs().max() > 1e-3, "the sources have no influence: this case proves nothing"
    assert control.check_fired(calls_per_step=1)["controlled_attention_calls"] == (STEPS - FROM) * last_layers
    assert control.figures.owned[0] > 0 < control.figures.owned[1]
    assert pipe.unet.attn_processors == before
    assert torch.equal(draw(pipe, PROMPT), plain)


def test_each_source_has_its_influence_in_its_region(sd1: Any, draw: Draw) -> None:
    bear, frog = both(sd1, draw, "boxes")
    last = plan_control(sd1.unet, STEPS, masa_steps=[STEPS - 1], masa_layers=["15"], mode="regions")

    def run(*sources: SourcePart) -> torch.Tensor:
        with control_attention(sd1.unet, sources, last):
            return draw(sd1, PROMPT)

    change = (run(bear, frog) - run(bear)).abs().mean(1)[0]  # -> (height, width)
    assert change[:, 6:].mean() > 2 * change[:, :6].mean()  # norms after the last layer carry a little everywhere


@pytest.mark.parametrize("ground", ["self", "first"])
def test_the_sources_share_is_the_part_of_the_picture_that_asks_them(sd1: Any, draw: Draw, ground: Any) -> None:
    bear, _ = both(sd1, draw, "boxes")
    with control_attention(sd1.unet, [bear], plan_for(sd1), ground=ground) as control:
        draw(sd1, PROMPT)
    (share,) = control.source_share(1)
    assert share == pytest.approx(LEFT.float().mean().item() if ground == "self" else 1, abs=1e-6)


def test_a_source_with_shared_branches_goes_with_one_that_has_both(sd1: Any, draw: Draw) -> None:
    bear, frog = both(sd1, draw, "boxes")
    recorded: Any = frog.source
    first = {
        step: StepRecord({n: k[:1] for n, k in r.keys.items()}, {n: v[:1] for n, v in r.values.items()}, r.object_map)
        for step, r in recorded.records.items()
    }
    twice = {
        step: StepRecord(
            {n: k.repeat(2, 1, 1) for n, k in r.keys.items()},
            {n: v.repeat(2, 1, 1) for n, v in r.values.items()},
            r.object_map,
        )
        for step, r in first.items()
    }
    pictures = []
    for branches, records in (((SHARED,), first), (GUIDED, twice)):
        source = MemorySource(branches, recorded.layers, recorded.timesteps, records)
        with control_attention(sd1.unet, [bear, SourcePart(source, frog.latent_size, (), ~LEFT)], plan_for(sd1)):
            pictures.append(draw(sd1, PROMPT))
    assert (pictures[0] - pictures[1]).abs().max() < 1e-5


def test_sources_that_do_not_go_together_are_refused(sd1: Any, draw: Draw) -> None:
    bear, frog = both(sd1, draw, "boxes")
    other = MemorySource(frog.source.branches, frog.source.layers, [9.0, 8.0, 7.0, 6.0], frog.source.records)  # type: ignore[attr-defined]
    with (
        pytest.raises(UserError, match="different timesteps"),
        control_attention(sd1.unet, [bear, SourcePart(other, frog.latent_size, (), ~LEFT)], plan_for(sd1)),
    ):
        pass
    other.timesteps.pop()
    with (
        pytest.raises(UserError, match="different timesteps"),
        control_attention(
            sd1.unet, [bear, SourcePart(other, frog.latent_size, (), ~LEFT)], plan_for(sd1), clock=StepClock()
        ),
    ):
        pass
    with (
        pytest.raises(UserError, match="give the words of each object, or its region"),
        control_attention(sd1.unet, [SourcePart(bear.source, bear.latent_size)], plan_for(sd1)),
    ):
        pass
