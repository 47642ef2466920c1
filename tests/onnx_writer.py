"""ONNX files with a single convolution, written without the onnx package, for tests."""

from pathlib import Path

import numpy as np


def write_convolution(
    path: Path, weights: np.ndarray, bias: np.ndarray, *, input_shape: tuple[int, ...], stride: int, pad_width: int = 0
) -> Path:
    """image -> Conv(weights, bias) -> answer; a 0 in input_shape leaves that dimension open."""
    ints = {"strides": [stride, stride], "pads": [0, pad_width, 0, pad_width], "kernel_shape": list(weights.shape[2:])}
    attributes = b"".join(
        _field(5, _field(1, name.encode()) + b"".join(_field(8, value) for value in values) + _field(20, 7))
        for name, values in ints.items()
    )
    names = b"".join(_field(1, name) for name in (b"image", b"weights", b"bias"))
    node = names + _field(2, b"answer") + _field(4, b"Conv") + attributes
    tensors = _field(5, _tensor(b"weights", weights)) + _field(5, _tensor(b"bias", bias))
    values = _field(11, _value(b"image", input_shape)) + _field(12, _value(b"answer", (1, len(weights), 0, 0)))
    graph = _field(1, node) + _field(2, b"graph") + tensors + values
    path.write_bytes(_field(1, 7) + _field(7, graph) + _field(8, _field(2, 13)))
    return path


def _tensor(name: bytes, array: np.ndarray) -> bytes:
    dims = b"".join(_field(1, side) for side in array.shape)
    return dims + _field(2, 1) + _field(8, name) + _field(9, array.astype("<f4").tobytes())


def _value(name: bytes, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(1, _field(1, side) if side else _field(2, b"open")) for side in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
