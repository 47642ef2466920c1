"""Object maps and the masks that are cut from them."""

from __future__ import annotations

import pytest
import tiny_models
import torch

from masactrl_video.attention.masks import MaskRule, binary_mask, joined_maps, normalised, rim_around, slope_widths
from masactrl_video.model.backbones.unet.attention import object_attention


def test_object_attention_is_the_words_share_of_diffusers_own_attention() -> None:
    attn = tiny_models.sd1_unet().down_blocks[1].attentions[0].transformer_blocks[0].attn2
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 12, attn.query_dim, generator=generator)
    text = torch.randn(2, 9, tiny_models.TEXT_WIDTH, generator=generator)
    with torch.no_grad():
        query, key = (attn.head_to_batch_dim(states) for states in (attn.to_q(hidden), attn.to_k(text)))
        probabilities = attn.get_attention_scores(query, key).reshape(2, attn.heads, 12, 9)
        ours = object_attention(attn, hidden, text, [2, 5])
    assert (ours - (probabilities[..., 2] + probabilities[..., 5]).mean(1)).abs().max() < 1e-6


def test_maps_are_averaged_over_layers_then_stretched_to_0_and_1_for_each_row() -> None:
    first, second = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    out = normalised([first, second])
    for row in range(3):
        mean = (first[row] + second[row]) / 2
        assert torch.allclose(out[row], (mean - mean.min()) / (mean.max() - mean.min()))
    assert (out.amin(dim=(1, 2)), out.amax(dim=(1, 2))) == (pytest.approx(0), pytest.approx(1))


def test_a_constant_map_shows_no_object() -> None:
    maps = torch.stack([torch.full((4, 5), 0.3), torch.rand(4, 5, generator=torch.Generator().manual_seed(0))])
    out = normalised([maps])
    assert (out[0] == 0).all()
    assert out[1].max() == 1
    assert not binary_mask(out, 0.1, (4, 5))[0].any()


def test_a_faint_map_is_stretched_too() -> None:
    faint = torch.tensor([[[0.0, 1e-30], [2e-30, 4e-30]]])
    assert torch.allclose(normalised([faint]), torch.tensor([[[0.0, 0.25], [0.5, 1.0]]]))


def test_a_mask_is_cut_at_the_threshold_and_resized_to_the_layers_grid() -> None:
    soft = torch.tensor([[[0.0, 0.1, 0.5], [0.09, 1.0, 0.2]]])
    assert binary_mask(soft, 0.1, (2, 3)).tolist() == [[False, True, True, False, True, True]]
    doubled = binary_mask(soft, 0.1, (4, 6)).reshape(1, 4, 6)
    assert torch.equal(doubled[:, ::2, ::2].flatten(1), binary_mask(soft, 0.1, (2, 3)))
    assert torch.equal(doubled[:, 1::2, 1::2], doubled[:, ::2, ::2])
    assert binary_mask(soft, 0.1, (5, 3)).shape == (1, 15)


def test_a_rim_is_what_lies_within_its_width_outside_of_the_object() -> None:
    mask = torch.zeros(3, 5, 7, dtype=torch.bool)
    mask[:, 2, 3] = True
    rim = rim_around(mask.flatten(1), (5, 7), [0, 1, 2]).reshape(3, 5, 7)
    assert [int(row.sum()) for row in rim] == [0, 8, 24]
    assert not (rim & mask).any()
    assert rim[1, 1:4, 2:5].sum() == 8


def test_a_rim_is_as_wide_as_the_map_is_flat() -> None:
    """A map that falls by a quarter of a cell from its threshold of one half on is at nothing two cells on."""
    steep, flat = torch.zeros(32, 32), torch.zeros(32, 32)
    steep[:, :16] = 1
    flat[:] = (1 - torch.arange(32) / 4 + 2).clamp(0, 1)
    assert slope_widths(torch.stack([steep, flat, torch.zeros(32, 32)]), 0.5) == [1, 2, 0]
    assert slope_widths((1 - torch.arange(32) / 32).expand(1, 32, 32), 0.5) == [4]  # an eighth of the side is the most


def test_a_rim_is_told_in_latent_points_and_is_a_cell_at_least() -> None:
    rule = MaskRule(rim=2)
    assert [rule.rim_widths(None, 2, 32, side) for side in (32, 16, 8)] == [[2, 2], [1, 1], [1, 1]]
    soft = torch.zeros(1, 16, 16)
    soft[:, :8] = 1
    by_slope = MaskRule(rim="auto", threshold=0.4)
    assert [by_slope.rim_widths(soft, 1, 64, side) for side in (64, 16)] == [[4], [1]]  # a cell of the map
    assert by_slope.rim_widths(None, 1, 64, 64) == [1]  # given masks fall at once


def test_a_faint_attribute_joins_the_map_of_the_object() -> None:
    """In the sum of their words' maps the strong one would drown it."""
    bear, scarf = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    bear[0, 1:3, 1:3], scarf[0, 0, 1] = 0.9, 0.05
    together = normalised([bear + scarf])
    joined = joined_maps([[bear], [scarf]])
    assert joined is not None
    assert not binary_mask(together, 0.4, (4, 4))[0, 1]
    assert binary_mask(joined, 0.4, (4, 4))[0].tolist() == ((bear + scarf) > 0).flatten().tolist()
    assert joined_maps([[], []]) is None


def test_by_area_a_cell_is_the_objects_if_half_of_it_is() -> None:
    """By its first point, a cell that is all ground but for that point would ask the object, and the reverse."""
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 0, 0] = mask[0, :2, 3] = mask[0, 2:, 1] = True
    assert binary_mask(mask, 0.5, (2, 2)).tolist() == [[True, False, False, False]]
    assert binary_mask(mask, 0.5, (2, 2), "area").tolist() == [[False, True, True, False]]
    assert torch.equal(binary_mask(mask, 0.5, (4, 4), "area"), mask.flatten(1))
    assert torch.equal(binary_mask(mask, 0.5, (8, 8), "area"), binary_mask(mask, 0.5, (8, 8)))


@pytest.mark.parametrize("is_given", [False, True])
def test_by_area_a_rim_is_as_wide_in_coarse_layers_as_in_fine_ones(is_given: bool) -> None:
    shown = torch.zeros(1, 16, 16)
    shown[:, :, :8] = 1
    rule = MaskRule(rim=2, threshold=0.4, cells="area")
    rims = [
        rule.cut(shown.bool() if is_given else shown, (side, side), (16, 16), is_given=is_given)[1]
        for side in (16, 8, 4)
    ]
    assert [None if rim is None else int(rim.sum()) for rim in rims] == [2 * 16, 8, 4]  # half a cell of the last
    nearest = [MaskRule(rim=2, threshold=0.4).cut(shown, (side, side), (16, 16), is_given=False) for side in (8, 4)]
    assert [int(rim.sum()) for _, rim in nearest if rim is not None] == [8, 4]
    thin = MaskRule(rim=1, threshold=0.4, cells="area").cut(shown, (4, 4), (16, 16), is_given=False)[1]
    assert thin is not None
    assert not thin.any()  # a quarter of a cell is none
    assert MaskRule(threshold=0.4, cells="area").cut(shown, (4, 4), (16, 16), is_given=False)[1] is None
