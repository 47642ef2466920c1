"""A pose network whose answers are known: it sees a person in every red cell of a picture."""

import numpy as np
from onnx_writer import write_convolution

from masactrl_video.poses.detectors.part_affinity import FIELD_CHANNELS, FIELD_LIMBS

CELL_PX, REACH_CELLS = 8, 18
HEIGHT_PX, WIDTH_PX = 160, 320


def row_network(path, input_shape=(1, 3, HEIGHT_PX, WIDTH_PX)):
    """Sees a person in every red cell, with part p lying p - 9 cells to its left; all fields are horizontal."""
    weights = np.zeros((57, 3, CELL_PX, (2 * REACH_CELLS + 1) * CELL_PX), np.float32)
    for part in range(18):
        left = (REACH_CELLS + part - 9) * CELL_PX
        weights[part, 2, :, left : left + CELL_PX] = 1 / (255 * CELL_PX**2)  # channel 2 is red: the input is BGR
    bias = np.zeros(57, np.float32)
    for (start, end), channel in zip(FIELD_LIMBS, FIELD_CHANNELS, strict=True):
        bias[19 + channel] = np.sign(start - end)
    pad_width = REACH_CELLS * CELL_PX
    return write_convolution(path, weights, bias, input_shape=input_shape, stride=CELL_PX, pad_width=pad_width)


def picture_with_people(*cells, height_px=HEIGHT_PX, width_px=WIDTH_PX, cell_px=CELL_PX):
    picture = np.zeros((height_px, width_px, 3), np.uint8)
    for row, column, red in cells:
        picture[row * cell_px : (row + 1) * cell_px, column * cell_px : (column + 1) * cell_px, 0] = red
    return picture
