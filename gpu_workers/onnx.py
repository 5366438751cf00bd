"""Opens ONNX models for a CPU that many share."""

from pathlib import Path

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
