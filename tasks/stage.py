"""One stage of one worker: its engine, its loop, and how a task claims, takes a seat and parks."""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from config import redis_keys as keys
from config.errors import VoiceExpired
from config.messages import Speech, decode_listen, decode_order
from config.outage import Outage
from config.settings import Settings
from config.tracing import OFF, Tracer
from config.versions import refusal, understands
from gpu_workers import loader
from tasks import beats, streams, toolbox
from tasks.celery import carried, waits_since
from tasks.leases import Emitter, Lease, Leases, Refusal
from tasks.llm_loop import LlmLoop, Pen
from tasks.loop import Loop
from tasks.own_tools import OwnTools, require_room
from tasks.passage import record
from tasks.seat import Seat
from tasks.stt_loop import Ear, SttLoop
from tasks.talk import Talk
from tasks.tts_loop import Mouth, TtsLoop
from tasks.voices import custom_voice

log = logging.getLogger(__name__)

#: How long a task waits for a slot before it goes back to the queue, for a worker with room.
SLOT_WAIT_S = 1.0

#: A parked task looks up this often.
PARK_S = 1.0


@dataclass(frozen=True)
class Ties:
    """What a stage needs of the world."""

    settings: Settings
    worker: str
    state: streams.Client
    media: streams.Client
    leases: Leases
    emitter: Emitter
    again: Callable[[str, str, int, str, float | None], None]
    """As `submit.again`."""
    tracer: Tracer = OFF


class Stage:
    """Builds, warms and runs an engine; serves tasks from the pool's threads."""

    def __init__(self, name: str, ties: Ties, slots: int | None = None) -> None:
        self.name = name
        self._ties = ties
        choice = ties.settings.stage(name)
        self.slots = slots or choice.slots
        self.engine = loader.load(name, choice, self.slots)
        self.model = choice.engine
        self.loop = self._make_loop()

    def _make_loop(self) -> Loop:
        ties = self._ties
        if self.name == "stt":
            return SttLoop(self.engine, ties.media, ties.emitter, self.slots)
        if self.name == "llm":
            return LlmLoop(self.engine, ties.emitter, self.slots, self._own_tools())
        ahead_s = ties.settings.pacing.tts_ahead_s
        return TtsLoop(self.engine, ties.media, ties.emitter, self.slots, ahead_s)

    def _own_tools(self) -> OwnTools:
        """Of this server. Raises ConfigError where one cannot be used."""
        settings = self._ties.settings
        tools = toolbox.load(settings.tools)
        if tools:
            log.info("%d tools of %s: %s", len(tools), settings.tools.folder, ", ".join(tools))
        if tools and self.engine.calls_tools:
            require_room(tools, settings.llm.window_tokens)
        elif tools:
            log.warning("the llm engine %r tells its model of no tools: none is ever called", self.model)
        return OwnTools(tools, settings.tools, self._is_let_out, settings.llm.window_tokens)

    def _is_let_out(self, sid: str, reply: int) -> bool:
        (newest,) = self._ties.leases.read(sid, [keys.LET_OUT])
        return newest is not None and int(newest) >= reply

    def start(self) -> None:
        """Warms the engine, then starts the loop. Raises what the engine raises."""
        began = time.monotonic()
        if isinstance(self.loop, LlmLoop):
            self.loop.warm_up()
        else:
            self.engine.warm_up()
        self.loop.start()
        log.info("%s ready: engine %s, %d slots, warm in %.1f s", self.name, self.model, self.slots,
                 time.monotonic() - began)  # fmt: skip

    def serve(self, sid: str, reply: int) -> None:
        """Claims the stage of a session, parks until it is over. Returns quietly when there is nothing to do."""
        slot = self._wait_for_slot()
        if slot is None:
            self._ties.again(self.name, sid, reply, carried(), waits_since())
            return
        try:
            lease = self._ties.leases.claim(self.name, sid, self._ties.worker, reply)
            if isinstance(lease, Refusal):
                log.debug("%s claim refused: %s", self.name, lease.name)
                return
            seat = self._seat(lease, slot)
            if seat is None:
                self._ties.leases.let_go(lease, done=False)
                return
            self._park(seat)
        finally:
            self.loop.give_slot_back(slot)

    def _park(self, seat: Seat) -> None:
        log.debug("%s begins in slot %d, epoch %d", self.name, seat.slot, seat.lease.epoch)
        self.loop.enter(seat)
        while not seat.over.wait(PARK_S):
            if not self.loop.is_alive():
                break
        log.debug(
            "%s is over: %s", self.name, "lost" if seat.lost else "done" if seat.done else "handed back"
        )
        if self._ties.tracer.on:
            record(self._ties.tracer, seat, engine=self.model, slots=self.slots)
        # a lease that is lost is nobody's to end, and a cancelled one is free for a successor at once
        self._ties.leases.let_go(seat.lease, done=seat.done and not seat.lost)
        if self.loop.draining and not seat.done and not seat.lost:
            self._ties.again(self.name, seat.sid, seat.lease.reply, carried(), None)

    def _wait_for_slot(self) -> int | None:
        deadline = time.monotonic() + SLOT_WAIT_S
        while (slot := self.loop.take_slot()) is None:
            if self.loop.draining or time.monotonic() > deadline:
                return None
            time.sleep(0.02)
        return slot

    def _seat(self, lease: Lease, slot: int) -> Seat | None:
        """Everything the seat needs from Redis; None when it is not there any more."""
        field = keys.LISTEN if self.name == "stt" else keys.ORDER
        data, version, trace = self._ties.leases.read(lease.sid, [field, keys.VERSION, keys.TRACE])
        if data is None:
            return None
        if not understands(spoken := int(version or 1)):
            log.error("%s lets a session go: %s", self.name, refusal("its web process", spoken))
            return None
        make: dict[str, Callable[[Lease, int, bytes], Seat | None]] = {
            "stt": self._ear,
            "llm": self._pen,
            "tts": self._mouth,
        }
        seat = make[self.name](lease, slot, data)
        if seat is not None and self.name != "stt":
            seat.trace = carried() or (trace or b"").decode()
        return seat

    def _ear(self, lease: Lease, slot: int, data: bytes) -> Ear:
        last = streams.newest_result(self._ties.media, "stt", lease.sid, 0)
        return Ear(lease, slot, listen=decode_listen(data), resume_at=last.mark if last else 0)

    def _pen(self, lease: Lease, slot: int, data: bytes) -> Pen | None:
        order = decode_order(data)
        if order.reply != lease.reply:
            return None
        talk = Talk()
        for result in streams.results_after(self._ties.media, "llm", lease.sid, lease.reply, 0, 0):
            talk.take(result.body)
        return Pen(lease, slot, order=order, talk=talk)

    def _mouth(self, lease: Lease, slot: int, data: bytes) -> Mouth | None:
        order = decode_order(data)
        if order.reply != lease.reply:
            return None
        mouth = Mouth(lease, slot, order=order)
        try:
            mouth.custom = custom_voice(self._ties.media, order.voice, self._ties.settings.voices.keep_s)
        except VoiceExpired as error:
            mouth.voiceless = error
        for result in streams.results_after(self._ties.media, "tts", lease.sid, lease.reply, 0, 0):
            if result.reply == lease.reply and isinstance(result.body, Speech):
                mouth.first_word, mouth.base = result.body.spoken, result.body.spoken_to
        return mouth

    def prefill(self, sid: str) -> None:
        """Lets the LLM read the prompt that probably comes; no claim, no result."""
        (data,) = self._ties.leases.read(sid, [keys.DRAFT])
        if data is not None and isinstance(self.loop, LlmLoop):
            self.loop.prefill(decode_order(data), sid)

    def stop(self, deadline: float) -> None:
        """Drains until the monotonic `deadline`, then hands the rest back."""
        self.loop.drain()
        while self.loop.held and time.monotonic() < deadline:
            time.sleep(0.02)
        self.loop.stop()
        self.loop.join(timeout=2.0)

    def give_back(self) -> None:
        """Lets every seat's lease go, so that the work is sent to others at once; for an engine that is no more."""
        for seat in self.loop.everyone():
            self._ties.leases.let_go(seat.lease, done=False)

    def says(self) -> dict[str, Any]:
        """What the worker's heartbeat tells of this stage."""
        loop, draining = self.loop, int(self.loop.draining)
        counts = {"slots": self.slots, "free": loop.free, "taken": loop.taken}
        return {**counts, "model": self.model, "draining": draining}


class Keeper(threading.Thread):
    """Renews every lease of a worker and beats for it, as long as its loops are alive."""

    def __init__(self, stages: list[Stage], ties: Ties, says: dict[str, str]) -> None:
        super().__init__(name="keeper", daemon=True)
        self._stages = stages
        self._ties = ties
        self._says = says
        self._stopping = threading.Event()
        self.deaf_s: Callable[[], float] = lambda: 0.0
        """How long the media server was not heard: who hears nothing cannot work, and others may."""
        self._orphans: dict[tuple[str, str], float] = {}
        self._outage = Outage(log, "keeper")

    def run(self) -> None:
        """Until stopped. Redis away is no reason to stop; a hung engine is one to exit."""
        rules = self._ties.settings.ownership
        while not self._stopping.wait(rules.renew_s):
            try:
                for stage in self._stages:
                    self._keep(stage)
                self._outage.over()
            except streams.RedisError as error:
                self._outage.met(error)
            except Exception:
                log.exception("keeper failed; it goes on")

    def stop(self) -> None:
        """Ends after the current round; the workers' entries go with it."""
        self._stopping.set()
        self.join(timeout=2.0)
        self.retire()

    def retire(self) -> None:
        """The workers' entries go, at once; nothing is renewed any more."""
        self._stopping.set()
        for stage in self._stages:
            beats.retire(self._ties.state, stage.name, self._ties.worker)

    def _keep(self, stage: Stage) -> None:
        rules = self._ties.settings.ownership
        silent_s = time.monotonic() - stage.loop.last_beat
        if silent_s > 2 * rules.step_deadline_s:
            log.critical("%s step hangs for %.0f s: this worker ends", stage.name, silent_s)
            os._exit(70)
        if max(silent_s, self.deaf_s()) > rules.step_deadline_s:
            return
        seats = stage.loop.held
        for seat, standing in zip(
            seats, self._ties.leases.renew([seat.lease for seat in seats]), strict=True
        ):
            if standing == 0 and not seat.over.is_set():
                seat.lost = True
            self._note_orphan(seat, orphaned=standing == 2)
        here = {(stage.name, seat.sid) for seat in seats}
        self._orphans = {
            key: since for key, since in self._orphans.items() if key[0] != stage.name or key in here
        }
        beats.beat(
            self._ties.state,
            stage.name,
            self._ties.worker,
            {**self._says, **stage.says()},
            rules.heartbeat_ttl_s,
        )

    def _note_orphan(self, seat: Seat, *, orphaned: bool) -> None:
        """A session whose web process is gone for long gives its slots back. A reply is written to its end by
        itself, but not spoken: with nobody to hear it the TTS waits, and would for as long as the session is kept."""
        key = (seat.lease.stage, seat.sid)
        if not orphaned:
            self._orphans.pop(key, None)
            return
        since = self._orphans.setdefault(key, time.monotonic())
        if seat.lease.stage != "llm" and time.monotonic() - since > self._ties.settings.ownership.orphan_s:
            self._orphans.pop(key)
            seat.lost = True
