"""The input shape that an ONNX file declares.

OpenCV runs such a file but does not tell this in the same way in versions 4 and 5, so the five nested protobuf
messages that lead to it are read here: ModelProto.graph.input.type.tensor_type.shape.dim (onnx/onnx.proto).
"""

from collections.abc import Iterator
from pathlib import Path

GRAPH, INPUT, TYPE, TENSOR_TYPE, SHAPE, DIM, DIM_VALUE = 7, 11, 2, 1, 2, 1, 1
Field = tuple[int, int | bytes]


def declared_input_shape(path: Path) -> tuple[int, ...]:
    """The shape of the first input, 0 for a dimension that is left open; empty where there is no input.

    Raises ValueError when the file is not a protobuf message.
    """
    for shape in _follow(path.read_bytes(), (GRAPH, INPUT, TYPE, TENSOR_TYPE, SHAPE)):
        return tuple(next(_numbers(dim, DIM_VALUE), 0) for dim in _follow(shape, (DIM,)))
    return ()


def _follow(message: bytes, numbers: tuple[int, ...]) -> Iterator[bytes]:
    """The messages found on a path of field numbers."""
    if not numbers:
        yield message
        return
    for number, value in _fields(message):
        if number == numbers[0] and isinstance(value, bytes):
            yield from _follow(value, numbers[1:])


def _numbers(message: bytes, wanted: int) -> Iterator[int]:
    return (value for number, value in _fields(message) if number == wanted and isinstance(value, int))


def _fields(message: bytes) -> Iterator[Field]:
    """Field numbers and values of a protobuf message: wire types 0 (varint), 1 and 5 (fixed), 2 (length-delimited)."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        wire_type = tag & 7
        if wire_type == 0:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        if wire_type == 2:
            length, place = _varint(message, place)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"protobuf wire type {wire_type} at byte {place}")
        if place + length > len(message):
            raise ValueError(f"a field ends behind the message at byte {place}")
        yield tag >> 3, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A variable-length number and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("the message ends inside a number")
        value |= (message[place] & 0x7F) << shift
        place += 1
        if not message[place - 1] & 0x80:
            return value, place
    raise ValueError(f"a number longer than ten bytes at byte {place}")
