"""A form with one recording in it, received in memory: its size and kind are judged here, and nothing is decoded."""

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gevent
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header
from werkzeug.wsgi import get_input_stream

from config.errors import ClientError, UploadLengthMissing, UploadSlow, UploadTooBig, UploadUnreadable

#: A form's own lines, beyond the recording.
FORM_BYTES = 1 << 14

#: What werkzeug may hold of it that is no file; its parser takes 64 KiB at a time, and counts them.
FORM_MEMORY_BYTES = 1 << 18

#: Of a length that anybody means; Python makes no number of 5000.
LENGTH_DIGITS = 18

#: Fields and files of a form.
FORM_PARTS = 8

#: The field that holds the recording, as Unmute's page names it.
FIELD = "file"


@dataclass(frozen=True)
class FormRules:
    """What is taken."""

    file_bytes: int
    receive_s: float


@dataclass(frozen=True)
class Form:
    """What came."""

    file: bytes
    fields: Mapping[str, str]
    """All else, as text."""


def require_length(environ: Mapping[str, Any], rules: FormRules) -> None:
    """Before a byte is read. Raises ClientError."""
    length = environ.get("CONTENT_LENGTH", "")
    if not length.isascii() or not length.isdigit():
        raise UploadLengthMissing("the upload must say its length (Content-Length)")
    if len(length) > LENGTH_DIGITS or int(length) > rules.file_bytes + FORM_BYTES:
        raise _too_big(rules)


def _too_big(rules: FormRules) -> UploadTooBig:
    return UploadTooBig(
        f"the recording is larger than {rules.file_bytes / (1 << 20):g} MB; about 10 s of talk are enough",
        param=FIELD,
    )


def receive(environ: dict[str, Any], rules: FormRules) -> Form:
    """The form, whose length is known. Raises ClientError.

    It never lies on a disk: werkzeug's own way would write it to a temporary file.
    """
    kind, options = parse_options_header(environ.get("CONTENT_TYPE", ""))
    parser = FormDataParser(
        stream_factory=lambda *_, **__: io.BytesIO(),
        max_form_memory_size=FORM_MEMORY_BYTES,
        max_form_parts=FORM_PARTS,
    )
    slow = UploadSlow(f"the recording did not arrive within {rules.receive_s:g} s")
    length = int(environ["CONTENT_LENGTH"])
    try:
        with gevent.Timeout(rules.receive_s, slow):
            _, fields, files = parser.parse(get_input_stream(environ), kind, length, options)
    except RequestEntityTooLarge as error:
        raise ClientError(f"send one file, in the field {FIELD!r} of a form", param=FIELD) from error
    except ClientDisconnected as error:
        raise ClientError("the upload is shorter than its Content-Length says", param=FIELD) from error
    if len(files.getlist(FIELD)) > 1:
        raise ClientError(f"send one file in the field {FIELD!r}", param=FIELD)
    if FIELD not in files:
        raise ClientError(f"send the recording in the field {FIELD!r} of a multipart form", param=FIELD)
    data: bytes = files[FIELD].read()
    if len(data) > rules.file_bytes:
        raise _too_big(rules)
    if not data:
        raise ClientError("the recording is empty", param=FIELD)
    return Form(data, {**_texts(files), **fields.to_dict()})


def _texts(files: Mapping[str, FileStorage]) -> dict[str, str]:
    """Fields that came as files: browsers send so what a page gives a type of its own."""
    texts = {}
    for name, file in files.items():
        sent = b"" if name == FIELD else file.read(FORM_BYTES)
        with suppress(UnicodeDecodeError):
            texts[name] = sent.decode()
    return texts


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
