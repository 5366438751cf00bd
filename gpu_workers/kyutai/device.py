"""A torch device: which one, how work runs on it, and what its failures mean to us. Knows no model."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from moshi.utils.compile import no_compile

from config.errors import ConfigError, DeviceLost

log = logging.getLogger(__name__)

Result = TypeVar("Result")

#: How an error that is not of torch's own class for it says that memory is short: CUDA, cuBLAS, cuDNN.
OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED")

#: What the errors of libraries on a CUDA device begin with, where they are plain RuntimeErrors.
CUDA_ERRORS = ("CUDA error", "CUDA driver error", "cuDNN error", "CUBLAS_STATUS", "NCCL")


@dataclass(frozen=True)
class Device:
    """Where models live. All work of a process runs through one of these, from one thread."""

    torch: torch.device
    dtype: torch.dtype
    """What weights are kept in."""

    @classmethod
    def choose(cls, name: str) -> "Device":
        """`cpu`, `cuda` or `cuda:N`. ConfigError if it is not there."""
        try:
            device = torch.device(name)
        except RuntimeError:
            raise ConfigError(
                f"option 'device': {name!r} is none; there are cpu, cuda and cuda:0, cuda:1 …"
            ) from None
        if device.type == "cpu":
            return cls(device, torch.float32)
        count = torch.cuda.device_count() if device.type == "cuda" else 0
        if (device.index or 0) >= count:
            raise ConfigError(
                f"option 'device': {name!r} is not there, torch {torch.__version__} sees {count} CUDA devices; "
                "on 'cpu' only small models keep up"
            )
        return cls(device, torch.bfloat16)

    @property
    def is_cuda(self) -> bool:
        """Whether it has a memory and failures of its own."""
        return bool(self.torch.type == "cuda")

    def memory_mb(self) -> tuple[int, int]:
        """(free, all) MB of its own memory; (0, 0) where it has none."""
        if not self.is_cuda:
            return 0, 0
        free, everything = torch.cuda.mem_get_info(self.torch)
        return free >> 20, everything >> 20

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Everything that touches a model happens in here.

        On a CPU moshi would compile small functions for half a minute at the first call, which is for GPUs.
        """
        with torch.inference_mode(), nullcontext() if self.is_cuda else no_compile():
            yield

    def wait(self) -> None:
        """Until all work given to it is done. Its errors show here at the latest."""
        if self.is_cuda:
            torch.cuda.current_stream(self.torch).synchronize()

    def load(self, what: str, needs_mb: int, build: Callable[[], Result]) -> Result:
        """What `build` makes: a model loaded, a warm-up. ConfigError if the memory does not suffice for it."""
        free, everything = self.memory_mb()
        try:
            with self.inference():
                return build()
        except RuntimeError as error:
            if _is_out_of_memory(error):
                raise ConfigError(
                    f"{what} does not fit on {self.torch}: it needs about {needs_mb} MB, of {everything} MB "
                    f"{free} were free; give it fewer slots, or a GPU with more room"
                ) from error
            if _is_lost(error):
                raise self._lost(what, error) from error
            raise

    def run(self, what: str, work: Callable[[], Result]) -> Result:
        """What `work` gives: a step in mid-run. DeviceLost when the device is gone, or its memory full for good.

        Once out of memory, what torch keeps in reserve is given back and the work is done again: it may then see what
        it has changed already, which costs a model at most a frame that it hears twice.
        """
        with self.inference():
            try:
                return work()
            except RuntimeError as error:
                if _is_lost(error):
                    raise self._lost(what, error) from error
                if not _is_out_of_memory(error):
                    raise
                log.warning("%s: %s is out of memory; its reserve is given back", what, self.torch)
            self._give_reserve_back()
            try:
                return work()
            except RuntimeError as error:
                if _is_lost(error) or _is_out_of_memory(error):
                    raise self._lost(what, error) from error
                raise

    def _give_reserve_back(self) -> None:
        if self.is_cuda:
            torch.cuda.empty_cache()

    def _lost(self, what: str, error: Exception) -> DeviceLost:
        if _is_out_of_memory(error):
            free, everything = self.memory_mb()
            return DeviceLost(f"{what}: {self.torch} is out of memory ({free} of {everything} MB are free)")
        return DeviceLost(f"{what}: {self.torch} is lost: {_first_line(error)}")


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY)


def _is_lost(error: Exception) -> bool:
    """After these nothing more can be done on the device by this process."""
    if _is_out_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or str(error).startswith(CUDA_ERRORS)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
