"""The GPUs of this machine as NVML, NVIDIA's monitoring library, sees them: which there are, their memory, how busy.

It looks and starts nothing on them: no CUDA context is made, so a look costs no GPU memory. Which one a worker takes
is for `tasks/placement.py`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pynvml

from config.errors import ConfigError
from config.metrics import GpuLoad

log = logging.getLogger(__name__)

MIB = 1 << 20


class NoDriver(ConfigError):
    """NVML does not answer: there is no driver, or a container was started without it."""

    code = "no_gpu_driver"


@dataclass(frozen=True)
class Gpu:
    """One that an engine could run on."""

    name: str
    """As `--gpu` takes it."""
    uuid: str
    model: str
    total_mb: int
    """0: not known, where CPU and GPU share their memory."""
    free_mb: int

    def __str__(self) -> str:
        return f"GPU {self.name} ({self.model})"


@contextmanager
def _nvml() -> Iterator[None]:
    """Raises NoDriver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoDriver(f"no NVIDIA driver answers here ({error})") from None
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def found() -> list[Gpu]:
    """Every GPU that answers, by PCI order. Raises NoDriver."""
    gpus = []
    with _nvml():
        for number in range(pynvml.nvmlDeviceGetCount()):
            try:
                gpus.append(_seen(str(number)))
            except pynvml.NVMLError as error:  # one that fell off the bus hides no other
                log.warning("GPU %d does not answer: %s", number, error)
    return gpus


def look(name: str) -> Gpu:
    """One GPU or MIG slice. Raises ConfigError that says which there are."""
    try:
        with _nvml():
            return _seen(name)
    except pynvml.NVMLError:
        there = ", ".join(f"{gpu.name} ({gpu.model})" for gpu in found()) or "none"
        raise ConfigError(f"there is no GPU {name}; there are: {there}") from None


def load(name: str) -> GpuLoad | None:
    """How it is used now; None when it does not say."""
    try:
        with _nvml():
            handle = _handle(name)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            return GpuLoad(memory.used, memory.total, _busy(handle))
    except (ConfigError, pynvml.NVMLError):
        return None


def _busy(handle: Any) -> float | None:
    try:
        return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
    except pynvml.NVMLError:
        return None


def _seen(name: str) -> Gpu:
    handle = _handle(name)
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        total_mb, free_mb = memory.total // MIB, memory.free // MIB
    except pynvml.NVMLError_NotSupported:
        total_mb, free_mb = 0, 0
    return Gpu(name, pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle), total_mb, free_mb)


def _handle(name: str) -> Any:
    if name.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(name))
    return pynvml.nvmlDeviceGetHandleByUUID(name)
