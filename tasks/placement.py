"""Where engines run: alone in a process or together, on which GPU, and whether they fit there. Starts nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from config.errors import ConfigError
from config.settings import Settings
from gpu_workers import loader
from gpu_workers.engine import Needs
from tasks.gpus import Gpu


@dataclass(frozen=True)
class Ask:
    """What one engine asks for."""

    stage: str
    engine: str
    slots: int
    needs: Needs

    @property
    def wants_gpu(self) -> bool:
        """Whether it cannot do without one."""
        return bool(self.needs.gpu_mb or self.needs.gpu_share)

    def mb_on(self, gpu: Gpu) -> int:
        """The memory it takes there."""
        return max(self.needs.gpu_mb, math.ceil(self.needs.gpu_share * gpu.total_mb))

    def __str__(self) -> str:
        return f"{self.stage} engine {self.engine!r}"


def asks(settings: Settings, stages: Sequence[str], slots: int | None) -> list[Ask]:
    """What the engines of these stages ask for; `slots` overrides the profile's. Raises as `loader.load` does."""
    found = []
    for stage in stages:
        choice = settings.stage(stage)
        count = slots or choice.slots
        found.append(Ask(stage, choice.engine, count, loader.needs(stage, choice, count)))
    return found


def check_together(asked: Sequence[Ask], options: Mapping[str, str | None]) -> None:
    """Raises ConfigError when one of several engines wants a process of its own; it names the commands.

    options: of the worker's command line, such as {"--gpu": "1", "--slots": None}.
    """
    loners = [ask for ask in asked if not ask.needs.shares_process]
    if len(asked) < 2 or not loners:
        return
    said = "".join(f" {name} {value}" for name, value in options.items() if value is not None)
    commands = [f"celery -A tasks worker -Q {ask.stage}{said}" for ask in asked]
    raise ConfigError(
        f"{loners[0]} shares its process with no other; start one worker for each queue: {'; '.join(commands)}"
    )


def first_that_wants(asked: Sequence[Ask]) -> Ask | None:
    """An engine that cannot do without a GPU."""
    return next((ask for ask in asked if ask.wants_gpu), None)


def the_only(wants: Ask, gpus: Sequence[Gpu]) -> Gpu:
    """The GPU for a worker that nobody gave one. Raises ConfigError where there are several: workers that all took the
    first would push each other out.
    """
    if len(gpus) == 1:
        return gpus[0]
    there = ", ".join(f"--gpu {gpu.name} ({gpu.model})" for gpu in gpus)
    if not there:
        raise ConfigError(f"{wants} needs a GPU; there is none here")
    raise ConfigError(f"{wants} needs a GPU, and there are several; say which: {there}")


def check_room(asked: Sequence[Ask], gpu: Gpu) -> None:
    """Raises ConfigError when these engines do not fit on the GPU beside what is there. Unknown memory is enough."""
    for ask in asked:
        share_mb = int(ask.needs.gpu_share * gpu.total_mb)
        if 0 < share_mb < ask.needs.gpu_mb:
            raise ConfigError(
                f"{ask} needs {ask.needs.gpu_mb} MB with {ask.slots} slots; its share of {gpu} is {share_mb} MB "
                f"({ask.needs.gpu_share:.2f} of {gpu.total_mb}): give it a larger share, fewer slots or another --gpu"
            )
    need_mb = sum(ask.mb_on(gpu) for ask in asked)
    if not gpu.total_mb or need_mb <= gpu.free_mb:
        return
    parts = [f"{ask} needs {ask.mb_on(gpu)} MB with {ask.slots} slots" for ask in asked if ask.wants_gpu]
    raise ConfigError(
        f"{' and '.join(parts)}; {gpu} has {gpu.free_mb} of {gpu.total_mb} MB free: give fewer slots (--slots), "
        "another --gpu or a smaller share in the engine's options, or end what else runs there"
    )
