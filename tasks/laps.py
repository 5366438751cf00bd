"""Where a loop's thread spends its time: a stopwatch whose laps add up to all of it."""

import time

from config import metrics

#: Parts of a turn. `wait` is sleep, and reads that may block: only the CPU time of those is a cost.
PARTS = ("wait", "read", "codec", "choose", "step", "hand_over", "publish")


#: How often the metrics are brought up to date.
SHOW_S = 1.0


class Laps:
    """Laps of one thread. A lap costs about a microsecond."""

    def __init__(self, stage: str) -> None:
        self.wall_s = dict.fromkeys(PARTS, 0.0)
        self.cpu_s = dict.fromkeys(PARTS, 0.0)
        self._shown = {
            part: (metrics.loop_seconds.labels(stage, part), metrics.loop_cpu_seconds.labels(stage, part))
            for part in PARTS
        }
        self._told = {part: (0.0, 0.0) for part in PARTS}
        self._wall = time.perf_counter()
        self._cpu = time.thread_time()
        self._next_show = self._wall

    def lap(self, part: str) -> None:
        """The time since the last lap went into `part`. Call it from one thread only."""
        wall, cpu = time.perf_counter(), time.thread_time()
        self.wall_s[part] += wall - self._wall
        self.cpu_s[part] += cpu - self._cpu
        self._wall, self._cpu = wall, cpu

    def lap_events(self) -> None:
        """The time since the last lap was an event loop's: what it computed is `step`, the rest `wait`."""
        began_wall, began_cpu = self._wall, self._cpu
        self._wall, self._cpu = time.perf_counter(), time.thread_time()
        cpu = self._cpu - began_cpu
        self.cpu_s["step"] += cpu
        self.wall_s["step"] += cpu
        self.wall_s["wait"] += max(0.0, self._wall - began_wall - cpu)

    def start(self) -> None:
        """The thread that will call `lap` is this one; what was before is nobody's."""
        self._wall, self._cpu = time.perf_counter(), time.thread_time()

    def add_cpu(self, part: str, seconds: float) -> None:
        """Other threads worked for this one."""
        self.cpu_s[part] += seconds

    def show(self) -> None:
        """Brings the metrics up to date, if they have not been for a second."""
        if self._wall < self._next_show:
            return
        self._next_show = self._wall + SHOW_S
        for part, (wall, cpu) in self._told.items():
            in_wall, in_cpu = self._shown[part]
            in_wall.inc(self.wall_s[part] - wall)
            in_cpu.inc(self.cpu_s[part] - cpu)
            self._told[part] = self.wall_s[part], self.cpu_s[part]
