"""A pose detector: a figure of 18 points around the brightest place of a picture."""

import numpy as np

from masactrl_video.poses.pose import BODY_POINTS, Person, Pose


class Brightest:
    """Sees one person where it is brightest, unless the picture is dark."""

    def __init__(self, threshold: float | None) -> None:
        """threshold, 0 to 1, is how bright a person is at least."""
        self.threshold = 0.5 if threshold is None else threshold

    @property
    def identity(self) -> str:
        """What determines the answers; of a network also its weights by content."""
        return f"brightest:{self.threshold}"

    def __call__(self, image: np.ndarray) -> Pose:
        """The pose of an RGB uint8 image (height, width, 3), in its pixels."""
        height, width = image.shape[:2]
        light = image.mean(axis=2) / 255
        y, x = np.unravel_index(int(light.argmax()), light.shape)
        if light[y, x] < self.threshold:
            return Pose((), width, height)
        body = np.full((BODY_POINTS, 3), light[y, x], np.float32)
        body[:, 0] = x + width / 8 * np.cos(np.arange(BODY_POINTS))
        body[:, 1] = y + height / 4 * np.sin(np.arange(BODY_POINTS))
        return Pose((Person(body),), width, height)
