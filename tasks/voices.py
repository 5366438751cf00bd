"""Voice cloning in a worker: one recording at a time becomes a voice that lives for a while. The sample is not kept.

No stage: nothing is claimed, for a recording is taken once, and who waits for it gives up by itself.
"""

import logging
import os
import threading
import time
import uuid
from typing import Any

from config import metrics
from config.errors import BadVoiceSample, ConfigError, VoiceExpired
from config.outage import Outage
from config.redis_keys import VOICES
from config.settings import Settings
from config.voice_messages import CUSTOM_PREFIX, CustomVoice, VoiceMade, VoiceRefused
from gpu_workers import loader
from gpu_workers.engine import VoiceEncoder
from tasks import beats, recordings, streams

log = logging.getLogger(__name__)

#: What a person is told whose recording is well, but not our encoder.
FAILED = "the voice could not be made; please try again later"

#: Recordings that wait in this process; there are as many pool threads for them.
SLOTS = 2

#: So many times as long as anybody waits for a voice.
HANGS = 3

#: The desk of this process, if it serves the queue.
desks: list["Desk"] = []


class Desk(threading.Thread):
    """Takes recordings, and beats for the worker. Without an encoder it stays and says so: the talks go on."""

    def __init__(
        self,
        settings: Settings,
        worker: str,
        state: streams.Client,
        media: streams.Client,
        says: dict[str, str],
    ) -> None:
        super().__init__(name="voices", daemon=True)
        self._settings = settings
        self._worker = worker
        self._state, self._media = state, media
        self._says = says
        self._booth: Any = None
        self._encoder: VoiceEncoder | None = None
        self._one = threading.Lock()
        self._stopping = threading.Event()
        self._since = 0.0
        """Monotonic time since when it works on one; 0 when it does not."""
        self.missing = ""
        """Why it cannot clone; empty if it can."""

    def open(self) -> None:
        """Loads and warms what it needs, then begins to beat."""
        began = time.monotonic()
        try:
            self._booth = loader.booth()
            encoder = loader.load(VOICES, self._settings.voice_encoder, SLOTS)
            encoder.warm_up()
            self._encoder = encoder
            log.info("voices ready: encoder %s, warm in %.1f s", encoder.name, time.monotonic() - began)
        except ConfigError as error:
            self.missing = str(error)
            log.error("voices cannot be cloned: %s", error)
        except Exception as error:  # of a library under it; Celery would log a failed bootstep and hang
            self.missing = type(error).__name__
            log.exception("voices cannot be cloned")
        self.start()

    def clone(self, upload: str) -> None:
        """Makes a voice of a recording and says so to who waits. Returns quietly when nobody waits any more."""
        with self._one:
            data = recordings.take_recording(self._media, upload)
            if data is None:
                return
            self._since = began = time.monotonic()
            try:
                answer = self._answer(data)
            finally:  # else a voice that Redis did not take would pass for an encoder that hangs
                self._since = 0.0
        metrics.voices_cloned.labels("made" if isinstance(answer, VoiceMade) else "refused").inc()
        log.info("a recording was %s in %.1f s", type(answer).__name__, time.monotonic() - began)
        recordings.answer_recording(self._media, upload, answer)

    def _answer(self, data: bytes) -> VoiceMade | VoiceRefused:
        if self._encoder is None:
            return VoiceRefused("voice cloning is not installed on this server", theirs=False)
        try:
            pcm = self._booth.prepare(data)
            custom = CustomVoice(self._encoder.name, self._encoder.encode(pcm))
        except BadVoiceSample as error:
            return VoiceRefused(str(error), theirs=True)
        except Exception:
            log.exception("a voice could not be made")
            return VoiceRefused(FAILED, theirs=False)
        return self._keep(custom)

    def _keep(self, custom: CustomVoice) -> VoiceMade | VoiceRefused:
        voice, rules = str(uuid.uuid4()), self._settings.voices
        if not recordings.keep_voice(self._media, voice, custom, rules.keep_s, rules.keep_most):
            return VoiceRefused(
                "this server keeps no more cloned voices now; please try again later", theirs=False
            )
        return VoiceMade(CUSTOM_PREFIX + voice)

    # --- its beat

    def run(self) -> None:
        """Until stopped. Redis away is no reason to stop; a hung encoder is one to exit."""
        rules, outage = self._settings.ownership, Outage(log, "voices")
        while not self._stopping.wait(rules.renew_s):
            if self._since and time.monotonic() - self._since > HANGS * self._settings.voices.answer_s:
                log.critical("a voice encoder hangs: this worker ends")
                os._exit(70)
            try:
                beats.beat(self._state, VOICES, self._worker, self._now(), rules.heartbeat_ttl_s)
                outage.over()
            except streams.RedisError as error:
                outage.met(error)

    def _now(self) -> dict[str, Any]:
        free = int(self._encoder is not None and not self._one.locked())
        taken = int(self._one.locked())
        return {**self._says, "slots": 1, "free": free, "taken": taken, "model": self._settings.voices.encoder,
                "missing": "yes" if self.missing else ""}  # fmt: skip

    def close(self) -> None:
        """Takes nothing more; what is under way goes on to its end."""
        self._stopping.set()
        self.join(timeout=2.0)
        beats.retire(self._state, VOICES, self._worker)


def custom_voice(media: streams.Client, name: str, keep_s: int) -> CustomVoice | None:
    """The cloned voice that an order names; None for a voice of the engine's own.

    Raises VoiceExpired.
    """
    if not name.startswith(CUSTOM_PREFIX):
        return None
    custom = recordings.use_voice(media, name.removeprefix(CUSTOM_PREFIX), keep_s)
    if custom is None:
        raise VoiceExpired("the cloned voice has expired; record it again")
    return custom
