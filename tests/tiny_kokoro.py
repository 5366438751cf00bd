"""A model that takes and gives what Kokoro does, and hums; and voices for it. Written in a moment, spoken in less.

Each phoneme lasts three units of 25 ms, whatever it is, over the speed.
"""

import struct
from pathlib import Path

import numpy as np

#: Field numbers of ONNX' protobuf messages (onnx.proto3) and its types of tensors.
FLOAT, INT64 = 1, 7

#: So long is a phoneme, and a unit in samples.
UNITS, UNIT = 3, 600


def _field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return _number(number << 3) + _number(content)
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    more = value >> 7
    return bytes([value & 127 | 128 * bool(more)]) + (_number(more) if more else b"")


def _node(kind: str, inputs: str, output: str, **attributes: int) -> bytes:
    fields = [_field(1, name.encode()) for name in inputs.split()] + [_field(2, output.encode())]
    fields += [_field(4, kind.encode())]
    for name, value in attributes.items():
        fields += [_field(5, _field(1, name.encode()) + _field(3, value) + _field(20, 2))]
    return _field(1, b"".join(fields))


def _constant(name: str, value: float, kind: int) -> bytes:
    raw = struct.pack("<f", value) if kind == FLOAT else struct.pack("<q", int(value))
    return _field(5, _field(2, kind) + _field(8, name.encode()) + _field(9, raw))


def _value(number: int, name: str, kind: int, *shape: str | int) -> bytes:
    dims = b"".join(
        _field(1, _field(1, size) if isinstance(size, int) else _field(2, size.encode())) for size in shape
    )
    tensor = _field(1, kind) + _field(2, dims)
    return _field(number, _field(1, name.encode()) + _field(2, _field(1, tensor)))


def model() -> bytes:
    """tokens (1, n), style (1, 256), speed (1,) to audio (m,); inside, /encoder/Clip_output_0 (1, n): units of each."""
    graph = [
        _node("Cast", "tokens", "ids", to=FLOAT),
        _node("Mul", "ids zero", "nothing"),
        _node("Add", "nothing units", "slow"),
        _node("Div", "slow speed", "exact"),
        _node("Ceil", "exact", "whole"),
        _node("Clip", "whole one fifty", "/encoder/Clip_output_0"),
        _node("ReduceSum", "/encoder/Clip_output_0", "length", keepdims=0),
        _node("Mul", "length unit", "samples"),
        _node("Range", "zero samples one", "time"),
        _node("Mul", "time pitch", "phase"),
        _node("Sin", "phase", "wave"),
        _node("ReduceMax", "style", "voice", keepdims=0),
        _node("Mul", "wave voice", "audio"),
        _field(2, b"tiny"),
        *(_constant(name, value, FLOAT) for name, value in CONSTANTS.items()),
        _value(11, "tokens", INT64, 1, "n"),
        _value(11, "style", FLOAT, 1, 256),
        _value(11, "speed", FLOAT, 1),
        _value(12, "audio", FLOAT, "m"),
    ]
    return _field(1, 8) + _field(8, _field(1, b"") + _field(2, 17)) + _field(7, b"".join(graph))


#: A hum of 180 Hz at 24 kHz.
CONSTANTS = {
    "zero": 0.0, "one": 1.0, "fifty": 50.0, "units": UNITS, "unit": UNIT, "pitch": 2 * np.pi * 180 / 24_000,
}  # fmt: skip


def write(folder: Path) -> dict[str, str]:
    """Options of the engine for a model and three voices, written to `folder`."""
    voices = folder / "voices"
    voices.mkdir(parents=True, exist_ok=True)
    for loudness, name in enumerate(("af_low", "bm_middle", "ff_high"), 1):
        np.full(510 * 256, loudness * 0.2, "<f4").tofile(voices / f"{name}.bin")
    (folder / "model.onnx").write_bytes(model())
    return {"model": str(folder / "model.onnx"), "voices": str(voices)}
