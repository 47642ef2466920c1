"""Optical flow, and what of a frame is hidden in the next.

A flow is float32 (height, width, 2): for each pixel of the first picture, how far right and down it lies in the second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.measure.moments import Mask, Picture

Flow = NDArray[np.float32]

SMALLEST_PX = 16
"""The shorter side of pictures whose flow is found."""


class FlowFinder(Protocol):
    """Finds the flow from one picture to another."""

    about: str

    def __call__(self, first: Picture, second: Picture) -> Flow: ...


class DisFlow:
    """Dense inverse search (Kroeger et al. 2016, arXiv 1603.03590), as OpenCV has it; needs no weights."""

    about = "DIS of OpenCV, preset medium"

    def __call__(self, first: Picture, second: Picture) -> Flow:
        """Of RGB uint8 pictures of one size."""
        import cv2

        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second)]
        finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
        return np.asarray(finder.calc(*grey, None), np.float32)


class RaftFlow:
    """RAFT (Teed and Deng 2020, arXiv 2003.12039) of torchvision, with weights from a file."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        """Load `weights`, a safetensors file of torchvision's raft_large or raft_small.

        Raises:
            UserError: it is no such file.
        """
        import torch
        from safetensors.torch import load_file
        from torchvision.models.optical_flow import raft_large, raft_small

        try:
            state = load_file(weights)
        except Exception as error:  # whatever safetensors says of a file that is none
            raise UserError(f"--raft: {weights} is no safetensors file that can be read ({error})") from error
        with torch.device("meta"):  # the shapes alone
            models = {"raft_large": raft_large(weights=None), "raft_small": raft_small(weights=None)}
        name = next((name for name, model in models.items() if model.state_dict().keys() == state.keys()), None)
        if name is None:
            raise UserError(f"--raft: {weights} holds neither torchvision's raft_large nor its raft_small")
        models[name].load_state_dict(state, assign=True)
        self.about, self.device = f"{name} of torchvision", torch.device(device)
        self._model = models[name].eval().to(self.device)

    def __call__(self, first: Picture, second: Picture) -> Flow:
        """Of RGB uint8 pictures of one size, padded to multiples of 8, of 128 px at least, as RAFT needs."""
        import torch
        from torch.nn.functional import pad

        height, width = first.shape[:2]
        pictures = [torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None] for p in (first, second)]
        edges = (0, max(-width % 8, 128 - width), 0, max(-height % 8, 128 - height))
        ready = [pad(p.to(self.device).float() / 127.5 - 1, edges, mode="replicate") for p in pictures]
        with torch.inference_mode():
            flow = self._model(*ready)[-1][0, :, :height, :width]  # -> (2, height, width)
        return np.asarray(flow.permute(1, 2, 0).cpu().numpy(), np.float32)


class Warp:
    """Moves values of the second picture to where the first one has them: values[p + flow(p)].

    Bilinear; what would come from outside of the picture comes from its edge, as in Lai's Resample2d. OpenCV's remap
    rounds places to 1/32 px, so it is not taken.
    """

    def __init__(self, flow: Flow) -> None:
        height, width = flow.shape[:2]
        right = np.clip(np.arange(width) + flow[..., 0].astype(np.float64), 0, width - 1)
        down = np.clip(np.arange(height)[:, None] + flow[..., 1].astype(np.float64), 0, height - 1)
        left_px, top_px = right.astype(np.intp), down.astype(np.intp)
        across, along = (part.astype(np.float32)[..., None] for part in (right - left_px, down - top_px))
        next_px, below_px = np.minimum(left_px + 1, width - 1), np.minimum(top_px + 1, height - 1)
        self._corners = (
            (top_px * width + left_px, (1 - along) * (1 - across)),
            (top_px * width + next_px, (1 - along) * across),
            (below_px * width + left_px, along * (1 - across)),
            (below_px * width + next_px, along * across),
        )

    def __call__(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """(height, width, channels) -> the same shape."""
        flat = values.reshape(-1, values.shape[-1]).astype(np.float32)
        return np.asarray(sum(flat.take(places, axis=0) * weights for places, weights in self._corners), np.float32)


def occluded(forward: Flow, backward: Flow, warp: Warp | None = None) -> Mask:
    """Pixels of the first picture that the second does not show, or that lie on the edge of a motion, (height, width).

    Lai et al. 2018, `detect_occlusion`: |w + f|² > 0.01 (|w|² + |f|²) + 0.5, with w the backward flow as the first
    picture sees it, or |∇f|² > 0.01 |f|² + 0.002, after Sundaram et al. 2010. Magnitudes are squared lengths.
    """
    back = (warp or Warp(forward))(backward)
    length = _squared(forward)
    unlike = _squared(back + forward) > 0.01 * (_squared(back) + length) + 0.5
    across, down = np.zeros_like(forward), np.zeros_like(forward)
    across[:, :-1] = forward[:, :-1] - forward[:, 1:]
    down[:-1] = forward[:-1] - forward[1:]
    return np.asarray(unlike | (_squared(across) + _squared(down) > 0.01 * length + 0.002), np.bool_)


def _squared(vectors: Flow) -> NDArray[np.float32]:
    return np.asarray(vectors[..., 0] ** 2 + vectors[..., 1] ** 2, np.float32)


def warp_error(first: Picture, second: Picture, warp: Warp, hidden: Mask) -> float:
    """Lai's temporal warping error of two frames: the mean squared difference of the first and the second warped to it.

    Over pixels that are not hidden, and their channels, of values 0 to 1. As published, where everything is hidden the
    sum, which is 0, is divided by the number of all values.
    """
    difference = warp(second) - first
    seen = ~hidden
    squares = float(np.square(difference).sum(axis=-1)[seen].sum(dtype=np.float64)) / 255**2
    return squares / (3 * int(seen.sum()) or difference.size)
