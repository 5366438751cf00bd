"""POST /v1/voices as far as the web tier goes: what it refuses, in which words, and that nothing stays behind."""

import io
import threading
import time
import uuid

import gevent
import pytest
from werkzeug.test import EnvironBuilder

from config.engine_choice import VoiceSettings
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
from config.redis_keys import VOICES, custom_voice, custom_voices, voice_owner, voice_upload
from config.settings import load
from config.voice_messages import CustomVoice, VoiceMade, VoiceRefused
from tasks import beats, recordings
from web.upload_form import FORM_MEMORY_BYTES, known
from web.voice_upload import Uploads

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100)

#: A voice that was never made.
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def uploads(state, media):
    """With a worker that says it is there, but takes nothing."""
    beats.beat(state, VOICES, "somebody", {"free": 1, "missing": ""}, 30.0)
    yield made(state, media)
    beats.retire(state, VOICES, "somebody")


def made(state, media, **rules):
    settings = load("null").model_copy(
        update={
            "voices": VoiceSettings(**{"encoder": "null", "answer_s": 0.3, "upload_bytes": 100_000, **rules})
        }
    )
    return Uploads(settings, state, media, lambda upload: None)


def form(data=WAV, field="file"):
    return EnvironBuilder(
        "/v1/voices", method="POST", data={field: (io.BytesIO(data), "me.wav")}
    ).get_environ()


@pytest.mark.parametrize(
    ("data", "kind"),
    [(WAV, "wav"), (b"fLaC" + bytes(20), "flac"), (b"OggS" + bytes(20), "ogg"), (b"ID3\x04" + bytes(20), "mp3"),
     (b"\xff\xfb\x90\x00" + bytes(20), "mp3"), (b"\xff\xf3\x40\x00", "mp3"), (b"RF64\xff\xff\xff\xffWAVE", "wav")],
)  # fmt: skip
def test_files_are_known_by_their_first_bytes(data, kind):
    assert known(data) == kind


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(
            b"\x1a\x45\xdf\xa3" + bytes(20), "WebM files are not taken; send WAV", id="a browser's webm"
        ),
        pytest.param(b"\0\0\0\x20ftypM4A " + bytes(20), "MP4", id="a phone's m4a"),
        pytest.param(b"FORM\0\0\0\0AIFF", "AIFF", id="aiff"),
        pytest.param(
            b"\xff\xf1\x50\x80" + bytes(20), "no sound file", id="aac, whose first bytes are like mp3's"
        ),
        pytest.param(b"\x80\x04\x95 pickled", "no sound file", id="a pickle"),
        pytest.param(b"<html>", "no sound file", id="html"),
        pytest.param(b"R", "no sound file", id="a byte"),
    ],
)
def test_other_files_are_refused_with_what_to_send_instead(data, words, uploads):
    with pytest.raises(UploadUnreadable, match=words) as caught:
        uploads.clone(form(data))
    assert caught.value.http_status == 415


def test_without_an_encoder_it_says_what_to_set(state, media):
    with pytest.raises(CloningMissing, match=r"set voices\.encoder.*weights") as caught:
        made(state, media, encoder="").clone(form())
    assert caught.value.http_status == 501
    assert not made(state, media, encoder="").up()


def test_without_a_worker_it_is_away(state, media):
    with pytest.raises(CloningAway) as caught:
        made(state, media).clone(form())
    assert caught.value.http_status == 503
    assert not made(state, media).up()


def test_a_worker_without_weights_is_as_good_as_not_installed(state, media):
    beats.beat(state, VOICES, "weightless", {"free": 0, "missing": "yes"}, 30.0)
    try:
        with pytest.raises(CloningMissing, match="not installed"):
            made(state, media).clone(form())
        assert not made(state, media).up()
    finally:
        beats.retire(state, VOICES, "weightless")


def test_a_worker_with_weights_is_told_in_health(uploads):
    assert uploads.up()


def test_a_large_recording_is_refused_before_it_is_read(uploads):
    environ = form(bytes(200_000))
    environ["wsgi.input"] = None
    with pytest.raises(UploadTooBig, match="larger than") as caught:
        uploads.clone(environ)
    assert caught.value.http_status == 413


def test_a_recording_may_be_as_large_as_the_limit_and_no_larger(uploads):
    with pytest.raises(UploadTooBig):
        uploads.clone(form(WAV + bytes(100_001 - len(WAV))))
    with pytest.raises(CloningAway):  # nobody takes it, but it was received
        uploads.clone(form(WAV + bytes(100_000 - len(WAV))))


@pytest.mark.parametrize("length", ["", "many", "-5", "١٢"])
def test_an_upload_without_a_length_is_refused(uploads, length):
    environ = form()
    environ["CONTENT_LENGTH"] = length
    with pytest.raises(UploadLengthMissing) as caught:
        uploads.clone(environ)
    assert caught.value.http_status == 411


def test_an_upload_that_is_shorter_than_it_says_is_told_so(uploads):
    environ = form()
    with pytest.raises(ClientError, match="shorter than its Content-Length"):
        uploads.clone({**environ, "CONTENT_LENGTH": str(int(environ["CONTENT_LENGTH"]) + 1)})


def test_an_upload_of_a_length_that_is_no_number_to_python_is_too_large(uploads):
    with pytest.raises(UploadTooBig):
        uploads.clone({**form(), "CONTENT_LENGTH": "9" * 5000})


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param(form(field="voice"), id="another field"),
        pytest.param(form(b""), id="an empty file"),
        pytest.param(EnvironBuilder(method="POST", data={"file": "no file"}).get_environ(), id="a text field"),
        pytest.param(EnvironBuilder(method="POST", data=WAV, content_type="audio/wav").get_environ(), id="no form"),
        pytest.param(
            EnvironBuilder(method="POST", data={f"f{n}": (io.BytesIO(WAV), "x") for n in range(50)}).get_environ(),
            id="many files",
        ),
        pytest.param(
            EnvironBuilder(
                method="POST", data={"file": (io.BytesIO(WAV), "x"), "t": "x" * (2 * FORM_MEMORY_BYTES)}
            ).get_environ(),
            id="a long text",
        ),
    ],
)  # fmt: skip
def test_what_is_no_form_with_a_file_is_refused(state, media, uploads, environ):
    with pytest.raises(ClientError) as caught:
        made(state, media, upload_bytes=4 << 20).clone(environ)
    assert caught.value.http_status == 400 and caught.value.param == "file"


def test_more_than_a_few_uploads_do_not_wait(state, media, uploads):
    busy = made(state, media, uploads_at_once=1, answer_s=3.0)

    def wait_in_vain():
        with pytest.raises(CloningAway, match="in time"):
            busy.clone(form())

    first = threading.Thread(target=wait_in_vain)
    first.start()
    deadline = time.monotonic() + 5
    while not list(media.scan_iter(voice_upload("*"))) and time.monotonic() < deadline:
        time.sleep(0.005)
    with pytest.raises(CloningAway, match="other voices are being made"):
        busy.clone(form())
    first.join()


class Dripping(io.RawIOBase):
    """Gives a byte now and then."""

    def readable(self):
        return True

    def readinto(self, into):
        gevent.sleep(0.02)
        into[:1] = b"-"
        return 1


def test_a_dripping_upload_is_given_up(state, media, uploads):
    environ = form()
    environ["wsgi.input"] = Dripping()
    environ["CONTENT_LENGTH"] = "90000"
    with pytest.raises(UploadSlow) as caught:
        made(state, media, receive_s=0.1).clone(environ)
    assert caught.value.http_status == 408


def test_a_recording_that_nobody_takes_does_not_stay(media, uploads):
    with pytest.raises(CloningAway, match="in time"):
        uploads.clone(form())
    assert not list(media.scan_iter(voice_upload("*")))


# --- what the encoder's side of the store keeps


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (VoiceRefused("too soft", theirs=True), BadVoiceSample),
        (VoiceRefused("no room", theirs=False), CloningAway),
    ],
)
def test_a_refusal_is_told_by_whose_matter_it_is(state, media, uploads, answer, kind):
    with pytest.raises(kind, match=answer.reason):
        answered(made(state, media, answer_s=5.0), media, answer)


def test_a_voice_is_told_by_its_name(state, media, uploads):
    assert answered(made(state, media, answer_s=5.0), media, VoiceMade("custom:x")) == "custom:x"


def test_a_voice_made_with_a_key_is_that_key_s(state, media, uploads):
    name = f"custom:{uuid.uuid4()}"
    voice = name.removeprefix("custom:")
    uploads = made(state, media, answer_s=5.0)
    recordings.keep_voice(media, voice, CustomVoice("null", b""), 50, 1000)
    assert answered(uploads, media, VoiceMade(name), owner="key-1") == name
    for stranger in ("", "key-2"):
        with pytest.raises(NotFound, match="of yours"):
            uploads.delete(name, stranger)
    uploads.delete(name, "key-1")
    assert not recordings.has_voice(media, voice)
    assert not media.exists(voice_owner(voice))


def test_a_voice_made_without_a_key_is_of_whoever_knows_its_name(state, media):
    voice = str(uuid.uuid4())
    recordings.keep_voice(media, voice, CustomVoice("null", b""), 50, 1000)
    made(state, media).delete(f"custom:{voice}", "key-2")
    assert not recordings.has_voice(media, voice)


@pytest.mark.parametrize("name", ["", "custom:", "Watercooler", "custom:*", f"custom:{NOBODY}", NOBODY])
def test_what_is_no_cloned_voice_cannot_be_deleted(state, media, name):
    with pytest.raises(NotFound):
        made(state, media).delete(name)


def test_who_owns_a_voice_is_known_as_long_as_it_lives(media):
    voice = str(uuid.uuid4())
    recordings.keep_voice(media, voice, CustomVoice("null", b""), 50, 1000)
    recordings.own_voice(media, voice, "key-1", 50)
    recordings.use_voice(media, voice, 500)
    assert media.ttl(voice_owner(voice)) > 400


def answered(uploads, media, answer, owner=""):
    """What `clone` makes of it, when somebody takes the recording and says this."""

    def somebody():
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            for key in media.scan_iter(voice_upload("*")):
                upload = key.decode().rpartition(":")[2]
                assert recordings.take_recording(media, upload) == WAV
                assert recordings.take_recording(media, upload) is None, "it is taken once"
                recordings.answer_recording(media, upload, answer)
                return
            time.sleep(0.005)

    helper = threading.Thread(target=somebody)
    helper.start()
    try:
        return uploads.clone(form(), owner)
    finally:
        helper.join()


def test_a_voice_lives_longer_when_it_is_used(media):
    voice, custom = str(uuid.uuid4()), CustomVoice("null", b"data")
    assert recordings.keep_voice(media, voice, custom, 50, 1000)
    assert recordings.has_voice(media, voice)
    assert 0 < media.ttl(custom_voice(voice)) <= 50
    assert recordings.use_voice(media, voice, 500) == custom
    assert media.ttl(custom_voice(voice)) > 400
    assert media.zscore(custom_voices(), voice) > time.time() + 400


def test_a_voice_that_is_gone_is_none(media):
    assert recordings.use_voice(media, str(uuid.uuid4()), 50) is None
    assert not recordings.has_voice(media, str(uuid.uuid4()))


def test_no_more_voices_are_kept_than_there_is_room_for_until_one_dies(media):
    there = media.zcard(custom_voices())
    voices = [str(uuid.uuid4()) for _ in range(3)]
    custom = CustomVoice("null", b"")
    assert recordings.keep_voice(media, voices[0], custom, 50, there + 2)
    assert recordings.keep_voice(media, voices[1], custom, 50, there + 2)
    assert not recordings.keep_voice(media, voices[2], custom, 50, there + 2)
    media.zadd(custom_voices(), {voices[0]: time.time() - 1})
    assert recordings.keep_voice(media, voices[2], custom, 50, there + 2)


def test_every_refusal_has_a_status_and_a_code():
    for error in (BadVoiceSample, UploadLengthMissing, UploadSlow, UploadTooBig, UploadUnreadable):
        assert issubclass(error, AntiphonError) and 400 <= error.http_status < 500
