"""What the keypoint network learns from: hues that are turned, figures that are cut out, and scenes with nobody."""

import numpy as np
import torch

from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.demo.training.keypoints import cut_out, empty_scenes, recoloured
from masactrl_video.poses.detectors.network import NetworkPoseDetector


def test_recoloured_pictures_keep_their_light_and_shade() -> None:
    grey = torch.linspace(-1, 1, 64).expand(40, 3, 1, 64)
    light, dark = (recoloured(grey, np.random.default_rng(0)) + 1) / 2, (grey + 1) / 2
    torch.testing.assert_close(light, light.mean(dim=1, keepdim=True).expand_as(light), atol=0.02, rtol=0)
    factors = (light[..., -1] / dark[..., -1]).mean(dim=1).flatten()
    assert 0.5 <= factors.min() < 0.7 and factors.max() > 0.99


def test_recoloured_pictures_have_other_hues() -> None:
    red = torch.tensor([0.6, -0.7, -0.7])[:, None, None].expand(60, 3, 4, 4)
    strongest = recoloured(red, np.random.default_rng(0))[:, :, 0, 0].argmax(dim=1)
    assert set(strongest.tolist()) == {0, 1, 2}


def test_a_figure_that_is_cut_out_stands_on_one_colour() -> None:
    random = np.random.default_rng(0)
    pictures = torch.from_numpy(random.uniform(-1, 1, (40, 3, 8, 8))).float()
    masks = torch.zeros(40, 1, 8, 8, dtype=torch.bool)
    masks[..., 2:6, 2:6] = True
    cut = cut_out(pictures, masks, random)
    torch.testing.assert_close(cut[..., 2:6, 2:6], pictures[..., 2:6, 2:6])
    grounds = cut[:, :, ~masks[0, 0]]
    even = (grounds == grounds[..., :1]).all(dim=(1, 2))
    assert 4 <= even.sum() <= 16
    torch.testing.assert_close(cut[~even], pictures[~even])


def test_nobody_is_found_in_a_scene_without_a_figure() -> None:
    detector = NetworkPoseDetector(WEIGHTS / "keypoints")
    scenes = empty_scenes(40, 128, np.random.default_rng(1_000_003))
    assert sum(detector(scene).has_person for scene in scenes) <= 2
