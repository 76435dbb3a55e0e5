"""A tiny ONNX segmentation model, written by hand in protobuf's wire format."""

import struct


def red_model(size=1024, channels=3, logits=False):
    """The bytes of a model whose coverage is high where a picture is red: sigmoid of a 1 x 1 convolution.

    With `logits` the last sigmoid is left out, as some files do.
    """
    weights = struct.pack(f"<{channels}f", *([60.0, 0.0, 0.0])[:channels])
    kernel = _ints(1, [1, channels, 1, 1]) + _int(2, 1) + _text(8, "w") + _bytes(9, weights)
    convolution = _text(1, "x") + _text(1, "w") + _text(2, "z") + _text(4, "Conv")
    nodes = _bytes(1, convolution)
    if not logits:
        nodes += _bytes(1, _text(1, "z") + _text(2, "y") + _text(4, "Sigmoid"))
    graph = nodes + _text(2, "g") + _bytes(5, kernel)
    graph += _bytes(11, _value("x", [1, channels, size, size]))
    graph += _bytes(12, _value("z" if logits else "y", [1, 1, size, size]))
    return _int(1, 8) + _bytes(7, graph) + _bytes(8, _text(1, "") + _int(2, 13))


def _value(name, shape):
    dims = b"".join(_bytes(1, _int(1, n)) for n in shape)
    tensor = _int(1, 1) + _bytes(2, dims)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _int(field, value):
    return _varint(field << 3) + _varint(value)


def _bytes(field, data):
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field, text):
    return _bytes(field, text.encode())


def _ints(field, values):
    return b"".join(_int(field, value) for value in values)
