"""What one process of talkers has to do, and what its talkers say: written by the command, read by `crowd`."""

import math

import msgspec

from config.messages import AudioFormat


class Utterance(msgspec.Struct):
    """Something said, as packets of one length. A packet of PCM is one piece, one of Opus some of 20 ms each."""

    packets: list[list[bytes]]
    voiced_from: int
    """The first packet that is audible."""
    voiced_to: int
    """One past the last."""


class Speech(msgspec.Struct):
    """All that talkers can say. They begin where chance has them and go round."""

    source: str
    """In words, for the report."""
    packet_samples: int
    """At 24 kHz."""
    utterances: list[Utterance]
    silence: list[bytes]
    format: AudioFormat = "pcm16"
    """Of GA; Unmute's packets are of Opus in any case."""

    @property
    def packet_s(self) -> float:
        """Length of a packet."""
        return self.packet_samples / 24_000


class Plan(msgspec.Struct, kw_only=True):
    """What a process of talkers has to do. Moments are of the clock that all processes of a machine share."""

    url: str
    dialect: str
    speech: Speech
    sessions: int
    first: int
    """Number of the first of them, among all."""
    of: int
    """Sessions of all processes."""
    process: int
    zero_s: float
    """The first session opens."""
    ramp_s: float
    """Until the last one opens."""
    begin_s: float
    """From here on it is measured."""
    end_s: float = math.inf
    """Everybody hangs up."""
    conversations: int | None = 1
    """Of each talker, one after the other; None: until the end."""
    turns: int | None = 3
    """Of each conversation; None: until the end."""
    ping_every_s: float = 2.0
    api_key: str | None = None

    def opens_s(self, number: int) -> float:
        """When the session with that number opens."""
        return self.zero_s + self.ramp_s * number / max(1, self.of)

    def measured(self, moment_s: float) -> bool:
        """Whether what happens then counts."""
        return self.begin_s <= moment_s < self.end_s
