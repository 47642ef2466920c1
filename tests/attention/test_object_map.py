"""Object maps and the masks that are cut from them."""

from __future__ import annotations

import pytest
import tiny_models
import torch

from masactrl_video.attention.masks import binary_mask, normalised
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
