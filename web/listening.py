"""What the STT is told of a session: whether anybody listens, and to what."""

from config.messages import Listen, Retune
from web.config import Wishes
from web.stages import Stages
from web.user_input import UserInput


class Listening:
    """Asks for the STT once, and tells it of what changes later in its place in the audio."""

    def __init__(self, input: UserInput, stages: Stages, *, on: bool) -> None:
        self.on = on
        self._input = input
        self._stages = stages
        self._to: Listen | None = None

    def set_up(self, wishes: Wishes) -> Listen:
        """What belongs into the session's state for whoever listens next."""
        listen = Listen(wishes.input_format, wishes.language, wishes.threshold, wishes.prefix_ms)
        if self.on and listen != self._to:
            self._input.put(Retune(self._input.clock.received, wishes.threshold, wishes.prefix_ms))
        self._to = listen
        return listen

    def begin(self) -> None:
        """Somebody shall listen from now on."""
        self.on = True
        self._stages.order("stt", 0)

    def pick_up(self) -> None:
        """A later connection: somebody may be listening already."""
        if self.on:
            self._stages.expect("stt", 0, fresh=False)
