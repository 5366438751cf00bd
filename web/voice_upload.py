"""Recordings that become voices: received in memory, handed to a voice encoder, waited for. Decodes nothing."""

import io
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header
from werkzeug.wsgi import get_input_stream

from config import unmute_metrics
from config.errors import (
    AntiphonError,
    BadVoiceSample,
    ClientError,
    CloningAway,
    CloningMissing,
    NotFound,
    UploadLengthMissing,
    UploadSlow,
    UploadTooBig,
    UploadUnreadable,
)
from config.redis_keys import VOICES
from config.settings import Settings
from config.voice_messages import CUSTOM_PREFIX, VoiceMade, VoiceRefused
from tasks import beats, recordings, streams, submit
from web.roles import CUSTOM

log = logging.getLogger(__name__)

#: A form's own lines, beyond the recording.
FORM_BYTES = 1 << 14

#: What werkzeug may hold of it that is no file; its parser takes 64 KiB at a time, and counts them.
FORM_MEMORY_BYTES = 1 << 18

#: Fields and files of a form.
FORM_PARTS = 8

#: The field that holds the recording, as Unmute's page names it.
FIELD = "file"

MISSING = (
    "voice cloning is not installed on this server: set voices.encoder, and voices.options with the path of its "
    "weights, and run a worker for the queue voices"
)
WEIGHTLESS = (
    "voice cloning is not installed on this server: its worker found no encoder, and says in its log why"
)


def _id(name: str) -> str:
    return name.removeprefix(CUSTOM_PREFIX)


def known(data: bytes) -> str:
    """What kind of sound file it is, by its first bytes: of those that a voice worker decodes.

    Raises UploadUnreadable, which says what to send instead.
    """
    head = data[:12]
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head.startswith(b"fLaC"):
        return "flac"
    if head.startswith(b"OggS"):
        return "ogg"
    if head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return "mp3"
    other = {b"\x1a\x45\xdf\xa3": "WebM", b"FORM": "AIFF", b"caff": "CAF"}.get(head[:4], "")
    other = "MP4 (m4a)" if head[4:8] == b"ftyp" else other
    said = f"{other} files are not taken" if other else "this is no sound file that is known here"
    raise UploadUnreadable(f"{said}; send WAV, FLAC, MP3 or Ogg (Opus or Vorbis)", param=FIELD)


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
        self._state, self._media = state, media
        self._ask = ask
        self._room = BoundedSemaphore(self._rules.uploads_at_once)

    def clone(self, environ: dict[str, Any], owner: str = "") -> str:
        """The name of the voice made of the recording in a request. owner: who alone may delete it; empty: whoever
        knows its name. Raises AntiphonError."""
        if not self._rules.encoder:
            raise CloningMissing(MISSING)
        self._require_length(environ)
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

    def _require_length(self, environ: dict[str, Any]) -> None:
        """Before a byte is read."""
        length = environ.get("CONTENT_LENGTH", "")
        if not length.isascii() or not length.isdigit():
            raise UploadLengthMissing("the upload must say its length (Content-Length)")
        if int(length) > self._rules.upload_bytes + FORM_BYTES:
            raise self._too_big()

    def _too_big(self) -> UploadTooBig:
        return UploadTooBig(
            f"the recording is larger than {self._rules.upload_bytes / (1 << 20):g} MB; about 10 s of talk are enough",
            param=FIELD,
        )

    def _received(self, environ: dict[str, Any]) -> bytes:
        """The recording, which never lies on a disk: werkzeug's own way would write it to a temporary file."""
        kind, options = parse_options_header(environ.get("CONTENT_TYPE", ""))
        parser = FormDataParser(
            stream_factory=lambda *_, **__: io.BytesIO(),
            max_form_memory_size=FORM_MEMORY_BYTES,
            max_form_parts=FORM_PARTS,
        )
        slow = UploadSlow(f"the recording did not arrive within {self._rules.receive_s:g} s")
        length = int(environ["CONTENT_LENGTH"])
        try:
            with gevent.Timeout(self._rules.receive_s, slow):
                _, _, files = parser.parse(get_input_stream(environ), kind, length, options)
        except RequestEntityTooLarge as error:
            raise ClientError(f"send one file, in the field {FIELD!r} of a form", param=FIELD) from error
        if FIELD not in files:
            raise ClientError(f"send the recording in the field {FIELD!r} of a multipart form", param=FIELD)
        data: bytes = files[FIELD].read()
        if len(data) > self._rules.upload_bytes:
            raise self._too_big()
        if not data:
            raise ClientError("the recording is empty", param=FIELD)
        known(data)
        unmute_metrics.voice_donation_submissions.inc()
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
