"""Recordings that become voices: handed to a voice encoder and waited for. Decodes nothing."""

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from gevent.lock import BoundedSemaphore

from config.errors import AntiphonError, BadVoiceSample, CloningAway, CloningMissing, NotFound
from config.redis_keys import VOICES
from config.settings import Settings
from config.voice_messages import CUSTOM_PREFIX, VoiceMade, VoiceRefused
from tasks import beats, recordings, streams, submit
from web.roles import CUSTOM
from web.upload_form import FIELD, FormRules, known, receive, require_length

log = logging.getLogger(__name__)

MISSING = (
    "voice cloning is not installed on this server: set voices.encoder, and voices.options with the path of its "
    "weights, and run a worker for the queue voices"
)
WEIGHTLESS = (
    "voice cloning is not installed on this server: its worker found no encoder, and says in its log why"
)


def _id(name: str) -> str:
    return name.removeprefix(CUSTOM_PREFIX)


class Uploads:
    """All that one web process receives."""

    def __init__(
        self,
        settings: Settings,
        state: streams.Client,
        media: streams.Client,
        ask: Callable[[str], None] = submit.clone,
    ) -> None:
        self._rules = settings.voices
        self._form = FormRules(settings.voices.upload_bytes, settings.voices.receive_s)
        self._state, self._media = state, media
        self._ask = ask
        self._room = BoundedSemaphore(self._rules.uploads_at_once)

    def clone(self, environ: dict[str, Any], owner: str = "") -> str:
        """The name of the voice made of the recording in a request. owner: who alone may delete it; empty: whoever
        knows its name. Raises AntiphonError."""
        if not self._rules.encoder:
            raise CloningMissing(MISSING)
        require_length(environ, self._form)
        try:
            self._require_worker()
            if not self._room.acquire(blocking=False):
                raise CloningAway("other voices are being made; please try again in a few seconds")
            try:
                name = self._made(self._received(environ))
                if owner:
                    recordings.own_voice(self._media, _id(name), owner, self._rules.keep_s)
                return name
            finally:
                self._room.release()
        except streams.RedisError as error:
            log.warning("a recording waits for Redis: %s", type(error).__name__)
            raise CloningAway("the server lost its memory for a moment; please try again") from error

    def delete(self, name: str, owner: str = "") -> None:
        """The cloned voice of this name is there no more. Raises NotFound where there is none of the owner's, and
        RedisError."""
        if not CUSTOM.fullmatch(name) or not recordings.drop_voice(self._media, _id(name), owner):
            raise NotFound(
                "there is no cloned voice of yours by this name", code="voice_not_found", param="name"
            )

    def made(self, voice: str) -> bool:
        """Whether a cloned voice is there. While Redis is away it is believed: the reply will tell."""
        try:
            return recordings.has_voice(self._media, voice)
        except streams.RedisError:
            return True

    def up(self) -> bool:
        """Somebody can clone voices now."""
        if not self._rules.encoder:
            return False
        try:
            self._require_worker()
        except (AntiphonError, streams.RedisError):
            return False
        return True

    def _require_worker(self) -> None:
        workers = beats.workers(self._state, VOICES)
        if not workers:
            raise CloningAway("no worker clones voices at the moment; please try again later")
        if all(said.get("missing") for said in workers.values()):
            raise CloningMissing(WEIGHTLESS)

    def _received(self, environ: dict[str, Any]) -> bytes:
        data = receive(environ, self._form).file
        known(data)
        return data

    def _made(self, data: bytes) -> str:
        upload = str(uuid.uuid4())
        recordings.offer_recording(self._media, upload, data)
        try:
            self._ask(upload)
            answer = recordings.await_answer(self._media, upload, time.monotonic() + self._rules.answer_s)
        finally:
            recordings.withdraw_recording(self._media, upload)
        match answer:
            case VoiceMade(voice=voice):
                return voice
            case VoiceRefused(reason=reason, theirs=True):
                raise BadVoiceSample(reason, param=FIELD)
            case VoiceRefused(reason=reason):
                raise CloningAway(reason)
        raise CloningAway("no voice was made in time; please try again later")
