"""Opens ONNX models for a CPU that many share."""

import os
from pathlib import Path

# ONNX Runtime's packages for Linux begin a thread that reports to Microsoft unless this stands when they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

#: Fatal only: some models warn of unused parts at every load.
LOG_SEVERITY = 4


def session(model: Path | bytes, threads: int) -> ort.InferenceSession:
    """A session of `threads` threads that sleep, not spin, between operations.

    Spinning gains a millisecond alone and loses tens of them where other models want the same cores.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_SEVERITY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def with_output(model: bytes, tensor: bytes) -> bytes:
    """The model with one more output: a tensor that it computes anyway.

    Two protobuf messages one after the other are one with the lists of both: so a second ModelProto that holds nothing
    but {graph (7): {output (12): {name (1): tensor}}} is simply appended.
    """
    message = tensor
    for number in (1, 12, 7):
        message = bytes([number << 3 | 2]) + _varint(len(message)) + message
    return model + message


def _varint(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    *more, last = [value >> shift & 127 for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([*(byte | 128 for byte in more), last])
