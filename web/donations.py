"""Voices that people give away: a text to read, then a recording of it with their consent, in the operator's folder.

Whether the text is what was read, nobody judges here: nothing is decoded. Whoever makes a voice of it listens first.
"""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from random import SystemRandom
from typing import Annotated, Any, Literal

import gevent
import msgspec
import yaml

from config import redis_keys as keys
from config import unmute_metrics
from config.donation import DonationSettings
from config.errors import ClientError, DonationsAway, DonationsOff
from tasks import kept
from tasks.streams import Client
from web.disk import in_thread
from web.upload_form import FIELD, FormRules, known, receive, require_length

#: The field of the form that says who gives the recording, as JSON.
METADATA = "metadata"

#: What every donor reads first.
CONSENT = "I agree that voices are made of this recording of mine, and that everybody may use them."

SENTENCES_FILE = Path(__file__).parent / "donation_sentences.yaml"

#: Drawn for one donor.
SENTENCES = 2

#: Nobody has read that text in less, in bytes by kind of file: about 5 s. Of WAV it is what Unmute asks for.
LEAST_BYTES = {"wav": 100_000, "flac": 60_000, "mp3": 20_000, "ogg": 12_000}

#: A disk that takes longer is given up.
STORE_S = 10.0

#: The end of a file's name while it is written, and how long after that nobody writes it any more.
PART, PART_S = ".part", 3600.0


class Verification(msgspec.Struct):
    """What a donor is to read. The names are those of Unmute's wire, its slip of the pen included."""

    id: str
    text: str
    created_at_timetamp: float
    """Unix time."""


class Submission(msgspec.Struct):
    """What a donor says of themselves and of the recording."""

    email: Annotated[str, msgspec.Meta(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
    """So that they can take the gift back; never published."""
    nickname: Annotated[str, msgspec.Meta(max_length=30)]
    verification_id: uuid.UUID
    format_version: Literal["1.0", "1.1"] = "1.1"
    license: Literal["CC0"] = "CC0"
    transcription_from_client: Annotated[str, msgspec.Meta(max_length=5000)] | None = None


class ConsentRecord(msgspec.Struct):
    """What lies beside the recording."""

    submission: Submission
    verification: Verification
    timestamp: float
    timestamp_str: str
    file: str
    bytes: int
    sha256: str


@cache
def sentences() -> list[str]:
    """All there are."""
    return list(yaml.safe_load(SENTENCES_FILE.read_text(encoding="utf-8")))


class Donations:
    """What one web process hands out and takes."""

    def __init__(
        self, rules: DonationSettings, media: Client, clock: Callable[[], float] = time.time
    ) -> None:
        self._rules = rules
        self._form = FormRules(rules.upload_bytes, rules.receive_s)
        self._media = media
        self._clock = clock
        self._dice = SystemRandom()
        self._at_once = 0
        """Recordings that are received or stored now; those that the disk does not give back, too."""

    def begin(self) -> Verification:
        """A text that was never read before. Raises DonationsOff, RedisError."""
        self._folder()
        drawn = self._dice.sample(sentences(), SENTENCES)
        text = Verification(str(uuid.uuid4()), " ".join([CONSENT, *drawn]), self._clock())
        self._remember(text)
        return text

    def submit(self, environ: dict[str, Any]) -> None:
        """Takes the recording in a request. Raises AntiphonError, RedisError."""
        folder = self._folder()
        require_length(environ, self._form)
        if self._at_once >= self._rules.at_once:
            raise DonationsAway("other recordings are being received; please try again in a few seconds")
        self._at_once += 1
        try:
            form = receive(environ, self._form)
            submission, kind = _submission(form.fields), _kind(form.file)
            with self._verification(submission.verification_id) as verification:
                self._store(folder, submission, verification, form.file, kind)
        finally:
            self._at_once -= 1
        unmute_metrics.voice_donation_submissions.inc()

    def _folder(self) -> Path:
        if self._rules.dir is None:
            raise DonationsOff("this server takes no voice donations; its operator has not set donation.dir")
        return self._rules.dir

    def _remember(self, text: Verification) -> None:
        left_s = text.created_at_timetamp + self._rules.read_within_s - self._clock()
        if left_s >= 1:
            kept.keep(self._media, keys.donation_text(text.id), msgspec.json.encode(text), int(left_s))

    @contextmanager
    def _verification(self, donation: uuid.UUID) -> Iterator[Verification]:
        """The text, which serves once; it is there again if nothing comes of it."""
        found = kept.take(self._media, keys.donation_text(str(donation)))
        if found is None:
            raise ClientError(
                f"this text has expired, was used, or is unknown: ask for another, and send it read aloud within "
                f"{self._rules.read_within_s / 60:g} minutes",
                code="verification_expired", param=f"{METADATA}.verification_id",
            )  # fmt: skip
        text = msgspec.json.decode(found, type=Verification)
        try:
            yield text
        except BaseException:
            self._remember(text)
            raise

    def _store(
        self, folder: Path, submission: Submission, text: Verification, data: bytes, kind: str
    ) -> None:
        now = self._clock()
        record = ConsentRecord(
            submission, text, now, datetime.fromtimestamp(now).astimezone().isoformat(),
            f"{text.id}.{kind}", len(data), hashlib.sha256(data).hexdigest(),
        )  # fmt: skip
        stored = in_thread(write, folder, record, data, self._rules.most)
        try:
            stored.get(timeout=STORE_S)
        except gevent.Timeout as error:
            self._at_once += 1  # its place stays taken until the disk gives it back
            stored.rawlink(self._given_back)
            raise DonationsAway(
                "the recording could not be stored in time; please try again later"
            ) from error
        except OSError as error:
            said = os.strerror(error.errno or 0)
            raise DonationsAway(
                f"the recording could not be stored ({said}); please try again later"
            ) from error

    def _given_back(self, _: object) -> None:
        self._at_once -= 1


def _submission(fields: Mapping[str, str]) -> Submission:
    if METADATA not in fields:
        raise ClientError(f"send who gives the recording in the field {METADATA!r}, as JSON", param=METADATA)
    try:
        return msgspec.json.decode(fields[METADATA], type=Submission)
    except (msgspec.DecodeError, RecursionError) as error:
        what, _, where = str(error).partition(" - at `$")
        raise ClientError(f"{METADATA}: {what}", param=METADATA + where.rstrip("`")) from error


def _kind(data: bytes) -> str:
    kind = known(data)
    if len(data) < LEAST_BYTES[kind]:
        raise ClientError("the recording is too short to hold the text; read all of it", param=FIELD)
    return kind


def write(folder: Path, record: ConsentRecord, data: bytes, most: int) -> None:
    """Both files or none, each whole as soon as it is there, for the server's user alone; nothing where an attempt that
    took too long has stored them meanwhile. Raises OSError; DonationsAway where there are `most` already."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    named = f"{record.verification.id}.json"
    names = os.listdir(folder)
    if named in names:
        return
    if sum(name.endswith(".json") for name in names) >= most:
        raise DonationsAway("no more recordings are taken here for now")
    _forget_attempts(folder, names)
    consent = json.dumps(msgspec.to_builtins(record), indent=2, ensure_ascii=False).encode()
    attempt = f".{uuid.uuid4()}"
    parts = [(folder / f"{attempt}.{name}{PART}", folder / name) for name in (record.file, named)]
    try:
        for (part, _), content in zip(parts, (data, consent), strict=True):
            _write(part, content)
        for part, name in parts:  # the consent last: where it is, all is
            part.replace(name)
        _sync(folder)
    except OSError:
        for part, _ in parts:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        raise


def _forget_attempts(folder: Path, names: Iterable[str]) -> None:
    """Of processes that died in the middle of one."""
    for path in (folder / name for name in names if name.endswith(PART)):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - PART_S:
                path.unlink()


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb", opener=_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Their names are on the disk, too."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
