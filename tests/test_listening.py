"""What the engines that listen by Silero and Smart Turn make of bad sound, of noise and of people."""

import time

import jiwer
import numpy as np
import pytest

from config.errors import ConfigError
from config.messages import Pause, VoiceEnded, VoiceStarted
from gpu_workers.engine import ListenOptions, Tuning
from tasks.codec import decoder, encoder
from tests import fair_clock, speech
from tests.conftest import missing
from tests.engine_drivers import Ears, warm

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", params=["embedded", "whisper"])
def embedded(request):
    return warm("stt", request.param)


@pytest.fixture(scope="module")
def sentence():
    """Two short sentences of a recording, a second and a half of quiet after them."""
    if not speech.there():
        missing("moonshine-voice, whose recordings the tests use")
    pcm = speech.recording("two_cities")[24_000:110_400]
    return np.concatenate([speech.silence(0.5), pcm, speech.silence(1.5)])


def test_a_slow_decode_delays_nobodys_voice_detection(embedded, sentence, monkeypatch):
    def slow(pcm, abandoned):
        time.sleep(1.0)
        return "slow", 1.0

    monkeypatch.setattr(embedded._recogniser, "recognise", slow)
    ears = Ears(embedded, 0).hear(s0=sentence, pace=0)
    ears.facts[1], ears.marks[1], ears.at[1] = [], [], 0
    embedded.open(1, ListenOptions(0))
    began_s = fair_clock.now_s()
    ears.hear(s1=sentence[:48_000], pace=0)
    assert ears.of(1, VoiceStarted)
    assert fair_clock.now_s() - began_s < 0.8
    embedded.close(0)
    embedded.close(1)


def test_a_threshold_and_a_pre_roll_act_from_the_start_on(embedded, sentence):
    ears = Ears(embedded, 0).hear(s0=sentence, pace=0.001)
    onset, start = ears.of(0, VoiceStarted)[0].at, ears.commit(0).start
    assert onset - start == 300 * 24
    embedded.open(0, ListenOptions(0, tuning=Tuning(prefix_ms=0)))
    ears = hear_again(embedded, sentence)
    assert ears.commit(0).start == ears.of(0, VoiceStarted)[0].at
    embedded.open(0, ListenOptions(0, tuning=Tuning(threshold=0.9999)))
    assert hear_again(embedded, sentence).of(0, VoiceStarted)[0].at > onset, "only what is surely voice"


def hear_again(engine, pcm):
    """The same for a slot that was opened by hand."""
    ears = Ears(engine)
    ears.at[0], ears.facts[0], ears.marks[0] = 0, [], []
    return ears.hear(s0=pcm, pace=0.001)


def over(audio_format):
    """What is left of a sound that came in that format."""

    def coded(pcm):
        coder, hearer = encoder(audio_format), decoder(audio_format)
        return np.concatenate([hearer.decode(packet) for packet in coder.encode(pcm) + coder.flush()])

    return coded


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda pcm: np.clip(pcm * 60, -1, 1), id="clipped"),
        pytest.param(lambda pcm: pcm * 0.8 + 0.2, id="with an offset"),
        pytest.param(over("pcma"), id="over a telephone"),
        pytest.param(lambda pcm: pcm * 0.05, id="softly"),
    ],
)
def test_bad_sound_is_still_understood(embedded, sentence, spoil):
    spoilt = spoil(sentence).astype(np.float32)
    ears = Ears(embedded, 0).hear(s0=spoilt, pace=0.001)
    assert ears.of(0, VoiceEnded), "voice ends in the quiet after it"
    understood = speech.plain(ears.commit(0).text)
    assert jiwer.wer("it was the best of times it was the worst of times", understood) <= 0.5, understood


@pytest.mark.parametrize("kind", ["white", "square"])
def test_speech_after_noise_at_full_scale_is_understood(embedded, sentence, kind):
    rng, size = np.random.default_rng(3), 2 * speech.RATE
    noise = {
        "white": rng.uniform(-1, 1, size),
        "square": np.sign(np.sin(np.arange(size) * 0.05)),
    }[kind].astype(np.float32)
    quiet = speech.silence(1.0)
    ears = Ears(embedded, 0).hear(s0=np.concatenate([quiet, noise, quiet]), pace=0.001)
    assert len(ears.of(0, VoiceEnded)) == len(ears.of(0, VoiceStarted)), "what began ended within a second"
    ears.commit(0)
    ears.facts[0].clear()
    ears.hear(s0=sentence, pace=0.001)
    assert ears.of(0, VoiceStarted)
    understood = speech.plain(ears.commit(0).text)
    assert jiwer.wer("it was the best of times it was the worst of times", understood) <= 0.5, understood


def test_zeros_for_a_minute_are_no_voice(embedded, sentence):
    ears = Ears(embedded, 0).hear(s0=np.zeros(60 * speech.RATE, np.float32), pace=0)
    assert not ears.facts[0]
    ears.hear(s0=sentence, pace=0.001)
    assert ears.commit(0).text


def test_another_language_is_refused(embedded):
    with pytest.raises(ConfigError, match="English"):
        embedded.open(0, ListenOptions(0, "fr"))


@pytest.mark.parametrize(
    ("line", "most"),
    [
        pytest.param(lambda pcm: pcm, 0.15, id="as it is"),
        pytest.param(over("pcmu"), 0.2, id="over a telephone"),
    ],
)
def test_human_speech_is_understood(embedded, sentence, line, most):
    """Two recordings at once, faster than real time; turns end where voice detector and judge say so."""
    heard = {}
    ears = Ears(embedded, *range(len(speech.TEXTS)))
    size = embedded.frame_samples
    audio = {slot: line(np.concatenate([speech.silence(0.3), speech.recording(name), speech.silence(1)]))
             for slot, name in enumerate(speech.TEXTS)}  # fmt: skip
    heard = {slot: [] for slot in audio}
    for number in range(max(map(len, audio.values())) // size):
        frames = {slot: pcm[number * size : (number + 1) * size] for slot, pcm in audio.items()}
        ears.step({slot: frame for slot, frame in frames.items() if len(frame) == size})
        time.sleep(0.006)
        for slot in audio:
            if any(pause.p_end > 0.5 and pause.ms >= 200 for pause in ears.of(slot, Pause)):
                ears.facts[slot].clear()
                heard[slot].append(ears.commit(slot).text)
    for slot in audio:
        heard[slot].append(ears.commit(slot).text)
    said = [speech.plain(text) for text in speech.TEXTS.values()]
    understood = [speech.plain(" ".join(texts)) for texts in heard.values()]
    assert jiwer.wer(said, understood) <= most, heard
