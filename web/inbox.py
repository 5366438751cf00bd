"""Results of the workers in order and once each, whatever was lost on the way. Pure but for the reader handed in."""

from collections.abc import Callable

from config import metrics
from config.messages import Result

#: Reads stored results of (stage, reply) that are newer than (epoch, seq).
Reader = Callable[[str, int, int, int], list[Result]]

Position = tuple[int, int]

NOTHING: Position = (0, 0)


class Inbox:
    """Remembers the newest (epoch, seq) taken of each stage; a hole is read back from replay."""

    def __init__(self, read: Reader, taken: dict[str, Position]) -> None:
        self._read = read
        self.taken = taken

    def accept(self, result: Result, *, first_owner: bool) -> list[Result]:
        """The results to apply now that this one came.

        first_owner: nobody else can have worked on it before, so an epoch's first message has no predecessor.
        """
        epoch, seq = self.taken.get(result.stage, NOTHING)
        if (result.epoch, result.seq) <= (epoch, seq):
            return []
        follows = result.epoch == epoch and result.seq == seq + 1
        begins = result.seq == 1 and (first_owner or result.epoch == 1)
        if follows or begins:
            self.taken[result.stage] = (result.epoch, result.seq)
            return [result]
        missed = self.catch_up(result.stage, result.reply)
        if (result.epoch, result.seq) <= self.taken.get(result.stage, NOTHING):
            return missed
        # the replay stream was lost with its server: what came is all there is
        self.taken[result.stage] = (result.epoch, result.seq)
        return [*missed, result]

    def catch_up(self, stage: str, reply: int) -> list[Result]:
        """Everything stored and not yet taken."""
        metrics.gaps.labels(stage).inc()
        missed = self._read(stage, reply, *self.taken.get(stage, NOTHING))
        if missed:
            self.taken[stage] = (missed[-1].epoch, missed[-1].seq)
        return missed

    def read_again(self, stage: str, reply: int) -> None:
        """Everything stored for this reply is taken once more by the next `catch_up`."""
        stored = [result for result in self._read(stage, reply, *NOTHING) if result.reply == reply]
        if stored:
            self.taken[stage] = (stored[0].epoch, stored[0].seq - 1)

    def behind(self, stage: str, epoch: int, last_seq: int) -> bool:
        """A worker says it has sent more than was taken."""
        return last_seq > 0 and (epoch, last_seq) > self.taken.get(stage, NOTHING)
