"""Arithmetic of the figures: pictures and what is known about them in, numbers out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from masactrl_video.demo.world.frame import Frame
from masactrl_video.demo.world.identity import Identity
from masactrl_video.measure.fidelity import psnr as decibels
from masactrl_video.measure.fidelity import squared_difference
from masactrl_video.poses.agreement import distances_px
from masactrl_video.poses.detectors.base import PoseDetector

UNNAMED = ("pattern", "scarf", "hat")
"""What only the source can tell."""


def psnr(pictures: Sequence[NDArray[np.uint8]], exact: Sequence[NDArray[np.uint8]]) -> float:
    """Decibels of all pictures together."""
    return decibels(squared_difference(np.stack(pictures), np.stack(exact)))


def error_on_figure(picture: NDArray[np.uint8], exact: Frame) -> float:
    """Mean absolute difference on the character's silhouette, in levels of 255."""
    return float(_difference(picture, exact)[exact.mask].mean())


def error_off_figure(picture: NDArray[np.uint8], exact: Frame) -> float:
    """Mean absolute difference outside of the character's silhouette, in levels of 255."""
    return float(_difference(picture, exact)[~exact.mask].mean())


def _difference(picture: NDArray[np.uint8], exact: Frame) -> NDArray[np.int16]:
    difference: NDArray[np.int16] = np.abs(picture.astype(np.int16) - exact.image)
    return difference


def keypoints_found(detector: PoseDetector, picture: NDArray[np.uint8], exact: Frame, within: float = 0.1) -> float:
    """Part of the keypoints inside the picture that are found within ``within`` heights of the picture (PCK)."""
    height, width = picture.shape[:2]
    visible = ((exact.keypoints >= 0) & (exact.keypoints < (width, height))).all(axis=1)
    people = detector(picture).people
    if not people:
        return 0.0
    wanted = np.insert(exact.keypoints, 2, visible, axis=1)
    away = distances_px(people[0].body, wanted)
    return float((away <= within * height)[visible].mean())


def same(attribute: str, first: Identity, second: Identity) -> bool:
    """Whether two identities agree in an attribute."""
    return bool(getattr(first, attribute) == getattr(second, attribute))


def overlap(mask: NDArray[np.bool_], silhouette: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((mask & silhouette).sum() / max(1, (mask | silhouette).sum()))
