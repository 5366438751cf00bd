"""Sessions that come and go, for one stage: `python -m bench.steps.feeder PLAN`. What the web would do, and no more.

It writes input, or a reply's text, at the pace of people and models, and tells the TTS what was heard.
"""

import queue
import random
import sys
import threading
import time
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import msgspec
import numpy as np
import redis

from bench.steps.plan import FRAME_S, FRAME_SAMPLES, TASKS, Fed, Plan
from config import redis_keys as keys
from config.messages import (
    Audio,
    AudioFormat,
    Commit,
    End,
    InEntry,
    Listen,
    Order,
    Played,
    Result,
    Speech,
    SpeechDone,
    TextDone,
    Words,
    decode_result,
    encode,
)
from config.settings import SAMPLE_RATE
from config.versions import VERSION
from gpu_workers.null_timing import word
from tasks import streams
from tasks.codec import encoder
from tasks.leases import Emitter, Lease, Leases

#: As the web's intake gathers.
TICK_S = 0.003

SESSION_S = (5.0, 15.0)
REPLY_S = (3.0, 8.0)

#: Words come in threes, as fast as a good LLM writes; a word is 0.32 s of the null engine's sound.
WORDS_AT_ONCE = 3
WORDS_EVERY_S = 0.1
WORD_S = 0.32

REPORT_S = 0.5
KEEP_S = 30.0

#: A web process that looks alive for the whole run.
WEB_LEASE_MS = 600_000

#: Voice and silence, in frames: a turn of 2 s and a pause of 1 s.
VOICE_FRAMES, TURN_FRAMES = 25, 37


@dataclass
class Talker:
    """Somebody who speaks to the STT."""

    sid: str
    next_s: float
    frames: int
    sent: int = 0


@dataclass
class Listener:
    """Somebody who is spoken to by the TTS."""

    sid: str
    words: int
    pen: Lease
    next_s: float
    written: int = 0
    first_s: float | None = None
    made: int = 0
    report_s: float = 0.0
    done: bool = False
    over_s: float = field(default=float("inf"))


class Feeder:
    """All users of a run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = streams.connect(plan.state_url)
        self.media = streams.connect(plan.media_url)
        self.inputs = streams.Inputs(self.media, KEEP_S)
        self.leases = Leases(self.state, WEB_LEASE_MS)
        self.emitter = Emitter(self.media, 4000, 600)
        self.dice = random.Random(plan.users)
        self.fed = Fed()

    def create(self, fields: dict[str, Any], reply: int) -> str:
        """A session that a web process holds, and the task for it."""
        sid = token_hex(8)
        self.leases.create(sid, {"state": "open", "reply": reply, **fields}, 600)
        self.leases.claim("web", sid, "bench", seize=True)
        self.state.rpush(TASKS, f"{sid} {reply}")
        self.fed.began += 1
        return sid

    def forget(self, sid: str) -> None:
        """All of a session that is over."""
        self.state.hset(keys.session(sid), keys.CLOSED, 1)
        streams.keep_media(self.media, sid, 5)
        streams.forget_text(self.media, sid, [1])
        self.fed.ended += 1

    def late(self, now_s: float, due_s: float) -> None:
        """Notes our own tardiness, once measuring has begun."""
        if now_s > self.plan.begin_s:
            self.fed.late_s.append(now_s - due_s)


def sound(audio_format: AudioFormat) -> tuple[list[list[bytes]], list[list[bytes]]]:
    """Packets of frames of voice, and of silence."""
    t = np.arange(FRAME_SAMPLES * VOICE_FRAMES) / SAMPLE_RATE
    tones = np.stack([np.sin(2 * np.pi * 150.0 * k * t) / k for k in range(1, 12)])
    hum = (0.2 * tones.sum(axis=0)).astype(np.float32)
    made = []
    for pcm in (hum, np.zeros(FRAME_SAMPLES * 4, np.float32)):
        if audio_format == "pcm16":
            frames = (pcm * 32767).astype("<i2").reshape(-1, FRAME_SAMPLES)
            made.append([[frame.tobytes()] for frame in frames])
        else:
            packets = encoder("opus").encode(pcm)
            made.append([packets[at : at + 4] for at in range(0, len(packets), 4)])
    return made[0], made[1]


class Talks:
    """Feeds an STT in real time, 80 ms at once from each."""

    def __init__(self, feeder: Feeder) -> None:
        self.feeder = feeder
        self.plan = feeder.plan
        self.voice, self.silence = sound(self.plan.format)

    def begin(self, next_s: float, seconds: float) -> Talker:
        """Somebody new."""
        sid = self.feeder.create({keys.LISTEN: encode(Listen(self.plan.format))}, 0)
        return Talker(sid, next_s, round(seconds / FRAME_S))

    def run(self) -> None:
        """Until the run is over; who has said all is replaced."""
        dice = self.feeder.dice
        talkers = [
            self.begin(time.time() + dice.uniform(0.1, 1.0), dice.uniform(1.0, SESSION_S[1]))
            for _ in range(self.plan.users)
        ]
        while (now_s := time.time()) < self.plan.end_s:
            entries: list[tuple[str, InEntry]] = []
            for place, talker in enumerate(talkers):
                if talker.next_s <= now_s:
                    self.feeder.late(now_s, talker.next_s)
                    entries += [(talker.sid, entry) for entry in self.say(talker, now_s)]
                    if talker.sent == talker.frames:
                        talkers[place] = self.begin(talker.next_s, dice.uniform(*SESSION_S))
                        self.feeder.fed.ended += 1
            if entries:
                self.feeder.inputs.append(entries)
            time.sleep(TICK_S)

    def say(self, talker: Talker, now_s: float) -> list[InEntry]:
        """The next 80 ms, and what follows from them."""
        at = talker.sent % TURN_FRAMES
        packets = self.voice[at] if at < VOICE_FRAMES else self.silence[at % len(self.silence)]
        said: list[InEntry] = [Audio(talker.sent * FRAME_SAMPLES, packets, now_s)]
        talker.sent += 1
        talker.next_s += FRAME_S
        if at == TURN_FRAMES - 1:
            said.append(Commit(talker.sent * FRAME_SAMPLES))
        return [*said, End()] if talker.sent == talker.frames else said


class Replies:
    """Feeds a TTS: writes text, listens, reports what was heard."""

    def __init__(self, feeder: Feeder) -> None:
        self.feeder = feeder
        self.plan = feeder.plan
        self.listeners: dict[str, Listener] = {}
        self.heard: queue.SimpleQueue[tuple[float, str, Result]] = queue.SimpleQueue()
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self) -> None:
        """Takes what is published, in a thread of its own."""
        client: Any = redis.Redis.from_url(self.plan.media_url, protocol=2)
        channels = client.pubsub(ignore_subscribe_messages=True)
        channels.psubscribe("out:*")
        for message in channels.listen():
            result = decode_result(message["data"])
            if result.stage == "tts":
                self.heard.put((time.time(), keys.session_of(message["channel"]), result))

    def begin(self, after_s: float) -> None:
        """A reply that is asked for now."""
        order = Order(1, [], "null", self.plan.format)
        sid = self.feeder.create({keys.ORDER: encode(order)}, 1)
        words = max(1, round(self.feeder.dice.uniform(*REPLY_S) / WORD_S))
        self.listeners[sid] = Listener(
            sid, words, Lease("llm", sid, "pen", 1, 1), next_s=time.time() + after_s
        )

    def run(self) -> None:
        """Until the run is over; who has heard a reply asks for the next."""
        for _ in range(self.plan.users):
            self.begin(self.feeder.dice.uniform(0.0, 6.0))
        while (now_s := time.time()) < self.plan.end_s:
            time.sleep(TICK_S)
            self.note_all()
            self.write_due(now_s)
            for listener in list(self.listeners.values()):
                self.report(listener, now_s)
                if now_s >= listener.over_s:
                    del self.listeners[listener.sid]
                    self.feeder.forget(listener.sid)
                    self.begin(0.0)

    def note_all(self) -> None:
        """What was heard since the last time."""
        while not self.heard.empty():
            at_s, sid, result = self.heard.get()
            listener = self.listeners.get(sid)
            if listener is None:
                continue
            if isinstance(result.body, Speech) and result.body.samples:
                if listener.first_s is None:
                    listener.first_s = at_s
                    listener.report_s = at_s + REPORT_S
                listener.made += result.body.samples
            elif isinstance(result.body, SpeechDone):
                listener.over_s = (listener.first_s or at_s) + result.body.samples / SAMPLE_RATE

    def write_due(self, now_s: float) -> None:
        """The next words of every reply whose time has come, in one round trip."""
        out: list[tuple[Lease, Result]] = []
        for listener in self.listeners.values():
            if listener.done or listener.next_s > now_s:
                continue
            self.feeder.late(now_s, listener.next_s)
            count = min(WORDS_AT_ONCE, listener.words - listener.written)
            words = [word(listener.written + number) + " " for number in range(count)]
            out.append(self.result(listener, Words(listener.written, words, now_s)))
            listener.written += count
            listener.next_s += WORDS_EVERY_S
            if listener.written == listener.words:
                listener.done = True
                out.append(self.result(listener, TextDone(listener.words, "stop")))
        if out:
            self.feeder.emitter.emit(out)

    @staticmethod
    def result(listener: Listener, body: Words | TextDone) -> tuple[Lease, Result]:
        """Numbered as the LLM's worker numbers."""
        listener.pen.last_seq += 1
        return listener.pen, Result(VERSION, "llm", 1, 1, listener.pen.last_seq, 0, body)

    def report(self, listener: Listener, now_s: float) -> None:
        """Twice a second: what was heard."""
        if listener.first_s is None or now_s < listener.report_s:
            return
        listener.report_s += REPORT_S
        heard = min(listener.made, round((now_s - listener.first_s) * SAMPLE_RATE))
        self.feeder.inputs.append([], [(self.plan.worker, Played(listener.sid, 1, heard))])


def main() -> None:
    """Runs a plan, prints what came of it."""
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    feeder = Feeder(plan)
    if plan.stage == "stt":
        Talks(feeder).run()
    else:
        Replies(feeder).run()
    sys.stdout.buffer.write(msgspec.json.encode(feeder.fed))


if __name__ == "__main__":
    main()
