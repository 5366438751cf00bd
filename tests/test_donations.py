"""Voice donations: a text that serves once, a recording that is judged by size and kind, a record of the consent."""

import errno
import io
import json
import os
import stat
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import gevent
import pytest
from werkzeug.test import EnvironBuilder

from config import redis_keys as keys
from config.donation import DonationSettings
from config.errors import (
    ClientError,
    DonationsAway,
    DonationsOff,
    UploadLengthMissing,
    UploadTooBig,
    UploadUnreadable,
)
from web import donations as module
from web.donations import CONSENT, LEAST_BYTES, Donations, sentences

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(LEAST_BYTES["wav"])
DONOR = {"email": "someone@example.org", "nickname": "Someone"}
NOW_S = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "donations"


@pytest.fixture
def donations(media, folder: Path) -> Donations:
    return Donations(DonationSettings(dir=folder), media, clock=lambda: NOW_S)


def form(donation: str, data: bytes = WAV, **about: Any) -> dict[str, Any]:
    metadata = json.dumps({**DONOR, "verification_id": donation, **about})
    return raw_form(metadata, data)


def raw_form(metadata: str, data: bytes = WAV) -> dict[str, Any]:
    fields = {"file": (io.BytesIO(data), "me.wav"), "metadata": metadata}
    environ: dict[str, Any] = EnvironBuilder("/v1/voice-donation", method="POST", data=fields).get_environ()
    return environ


def test_a_text_asks_for_consent_and_is_never_the_same(donations):
    texts = [donations.begin() for _ in range(5)]
    assert len({text.text for text in texts}) == len({text.id for text in texts}) == 5
    for text in texts:
        assert text.text.startswith(CONSENT)
        assert sum(sentence in text.text for sentence in sentences()) == 2
        assert (str(uuid.UUID(text.id)), text.created_at_timetamp) == (text.id, NOW_S)


def test_there_are_sentences_enough_and_each_once():
    assert len(set(sentences())) == len(sentences()) >= 40
    assert all(30 < len(sentence) < 90 and sentence[-1] in ".?!" for sentence in sentences())


def test_a_donation_leaves_the_recording_and_who_consented_to_what(donations, folder):
    text = donations.begin()
    donations.submit(form(text.id, transcription_from_client="I agree"))
    record = json.loads((folder / f"{text.id}.json").read_text())
    assert (folder / record["file"]).read_bytes() == WAV
    assert record["submission"] == {
        **DONOR, "verification_id": text.id, "format_version": "1.1", "license": "CC0",
        "transcription_from_client": "I agree",
    }  # fmt: skip
    assert record["verification"] == {"id": text.id, "text": text.text, "created_at_timetamp": NOW_S}
    assert (record["timestamp"], record["timestamp_str"][:3]) == (NOW_S, "202")
    assert (record["bytes"], record["sha256"]) == (len(WAV), sha256(WAV).hexdigest())


def test_only_the_owner_may_read_a_donation(donations, folder):
    donations.submit(form(donations.begin().id))
    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {".wav": 0o600, ".json": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_text_serves_once(donations, folder):
    text = donations.begin()
    donations.submit(form(text.id))
    with pytest.raises(ClientError, match="expired, was used, or is unknown") as caught:
        donations.submit(form(text.id))
    assert (caught.value.wire_code, caught.value.http_status) == ("verification_expired", 400)
    assert len(list(folder.iterdir())) == 2


def test_a_text_lives_as_long_as_it_says(donations, media):
    text = donations.begin()
    assert 290 < media.ttl(keys.donation_text(text.id)) <= 300
    media.delete(keys.donation_text(text.id))
    with pytest.raises(ClientError, match="within 5 minutes"):
        donations.submit(form(text.id))


@pytest.mark.parametrize(
    ("make", "param", "words"),
    [
        pytest.param(lambda id: raw_form("{"), "metadata", "metadata: ", id="no JSON"),
        pytest.param(lambda id: raw_form("[" * 100_000), "metadata", "metadata: ", id="JSON nested too deeply"),
        pytest.param(lambda id: form(id, email="nobody"), "metadata.email", "matching", id="no address"),
        pytest.param(lambda id: form(id, email=None), "metadata.email", "Expected `str`", id="a null address"),
        pytest.param(lambda id: form(id, nickname="n" * 31), "metadata.nickname", "<= 30", id="a long name"),
        pytest.param(lambda id: form("me"), "metadata.verification_id", "UUID", id="an id of another kind"),
        pytest.param(lambda id: form(id, license="MIT"), "metadata.license", "Invalid", id="another licence"),
        pytest.param(lambda id: form(id, format_version="9"), "metadata.format_version", "Invalid", id="a later form"),
        pytest.param(lambda id: form(id, WAV[:-100]), "file", "too short", id="a recording too short for the text"),
        pytest.param(lambda id: form(id, b""), "file", "empty", id="no recording"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_the_text_stays_good(donations, folder, make, param, words):
    text = donations.begin()
    with pytest.raises(ClientError, match=words) as caught:
        donations.submit(make(text.id))
    assert (caught.value.param, caught.value.http_status) == (param, 400)
    assert not folder.exists()
    donations.submit(form(text.id))


def test_a_form_without_metadata_is_refused(donations):
    environ = EnvironBuilder(method="POST", data={"file": (io.BytesIO(WAV), "me.wav")}).get_environ()
    with pytest.raises(ClientError, match="'metadata', as JSON"):
        donations.submit(environ)


def test_metadata_may_come_as_a_file_as_pages_send_json(donations, folder):
    text = donations.begin()
    metadata = json.dumps({**DONOR, "verification_id": text.id}).encode()
    fields = {
        "file": (io.BytesIO(WAV), "me.wav"),
        "metadata": (io.BytesIO(metadata), "blob", "application/json"),
    }
    donations.submit(EnvironBuilder("/v1/voice-donation", method="POST", data=fields).get_environ())
    assert (folder / f"{text.id}.json").exists()


def test_of_two_recordings_nobody_knows_which_is_meant(donations, folder):
    text = donations.begin()
    metadata = json.dumps({**DONOR, "verification_id": text.id})
    fields = {"file": [(io.BytesIO(WAV), "1.wav"), (io.BytesIO(WAV), "2.wav")], "metadata": metadata}
    with pytest.raises(ClientError, match="one file"):
        donations.submit(EnvironBuilder("/v1/voice-donation", method="POST", data=fields).get_environ())


def test_other_files_and_large_ones_are_refused(donations):
    text = donations.begin()
    with pytest.raises(UploadUnreadable, match="WebM"):
        donations.submit(form(text.id, b"\x1a\x45\xdf\xa3" + bytes(200_000)))
    with pytest.raises(UploadTooBig):
        donations.submit(form(text.id, WAV + bytes(4 << 20)))
    environ = form(text.id)
    environ["CONTENT_LENGTH"] = ""
    with pytest.raises(UploadLengthMissing):
        donations.submit(environ)


@pytest.mark.parametrize("ask", [lambda d: d.begin(), lambda d: d.submit({})], ids=["begin", "submit"])
def test_without_a_folder_donations_are_off(media, ask: Callable[[Donations], object]):
    with pytest.raises(DonationsOff, match=r"donation\.dir") as caught:
        ask(Donations(DonationSettings(), media))
    assert caught.value.http_status == 501


def test_a_full_folder_takes_no_more_and_the_text_stays_good(media, folder):
    donations = Donations(DonationSettings(dir=folder, most=1), media)
    donations.submit(form(donations.begin().id))
    text = donations.begin()
    for _ in range(2):
        with pytest.raises(DonationsAway, match="no more recordings"):
            donations.submit(form(text.id))


def test_a_full_disk_leaves_nothing_half_written(donations, folder, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(DonationsAway, match="No space left") as caught:
        donations.submit(form(donations.begin().id))
    assert caught.value.http_status == 503
    assert not list(folder.iterdir())


def test_a_file_is_whole_as_soon_as_it_is_there_and_the_consent_comes_last(donations, folder, monkeypatch):
    seen: list[set[str]] = []
    replace = Path.replace

    def watched(part: Path, name: Path) -> Path:
        seen.append({path.name for path in folder.iterdir() if not path.name.startswith(".")})
        return replace(part, name)

    monkeypatch.setattr(Path, "replace", watched)
    text = donations.begin()
    donations.submit(form(text.id))
    assert seen == [set(), {f"{text.id}.wav"}]
    assert {path.name for path in folder.iterdir()} == {f"{text.id}.wav", f"{text.id}.json"}


def test_a_recording_that_was_stored_too_late_for_its_answer_is_taken_when_it_comes_again(
    donations, folder, monkeypatch
):
    text, slow, mended = donations.begin(), module.os.fsync, threading.Event()

    def hang(file: int) -> None:
        mended.wait(30.0)
        slow(file)

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "fsync", hang)
        patched.setattr(module, "STORE_S", 0.05)
        with pytest.raises(DonationsAway, match="not be stored in time"):
            donations.submit(form(text.id))
        mended.set()
        with gevent.Timeout(10.0):
            while not (folder / f"{text.id}.json").exists():
                gevent.sleep(0.01)
    donations.submit(form(text.id))
    assert len(list(folder.glob("[!.]*"))) == 2


def test_a_disk_that_hangs_takes_no_more_than_its_places(media, folder, monkeypatch):
    donations, mended = Donations(DonationSettings(dir=folder, at_once=2), media), threading.Event()
    monkeypatch.setattr(module.os, "fsync", lambda _: mended.wait(30.0))
    monkeypatch.setattr(module, "STORE_S", 0.05)
    for _ in range(2):
        with pytest.raises(DonationsAway, match="not be stored in time"):
            donations.submit(form(donations.begin().id))
    with pytest.raises(DonationsAway, match="other recordings"):
        donations.submit(form(donations.begin().id))
    mended.set()
    text = donations.begin()
    with gevent.Timeout(10.0):
        while not (folder / f"{text.id}.json").exists():
            with suppress(DonationsAway):
                donations.submit(form(text.id))
            gevent.sleep(0.01)


def test_what_a_process_left_that_died_while_it_wrote_is_cleared_up(donations, folder):
    folder.mkdir()
    old, new = folder / ".a.b.wav.part", folder / ".c.d.wav.part"
    for path, age_s in ((old, 4000.0), (new, 10.0)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    donations.submit(form(donations.begin().id))
    assert not old.exists() and new.exists()
