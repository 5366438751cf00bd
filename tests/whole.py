"""What it means that a turn lost nothing: the user was understood; every word of the answer came once, and sounded."""

import numpy as np

from config.settings import SAMPLE_RATE
from gpu_workers.engine import Say, VoiceOptions
from gpu_workers.null_timing import WORDS
from gpu_workers.tts.null import NullTts
from gpu_workers.tts.null import Settings as TtsSettings
from tasks.codec import PcmEncoder
from tests.house import SLOW_TTS
from tests.talker import REPLY, Answer, Talker

#: What the user says: three words of 0.4 s, the last of them not cut.
SPEECH_S, SAID = 1.3, "one two three"

#: A session that lost nobody hears its reply without a hole longer than this; packets come every 160 ms at most.
UNDISTURBED_S = 0.6


def whole_reply() -> np.ndarray:
    """The audio of a whole reply."""
    engine = NullTts(TtsSettings(first_audio_after_s=0.0, word_audio_s=SLOW_TTS["word_audio_s"]), 1)
    engine.open(0, VoiceOptions(""))
    engine.feed(0, Say(WORDS, last=True))
    frames: list[np.ndarray] = []
    while sum(len(frame) for frame in frames) < len(WORDS) * SLOW_TTS["word_audio_s"] * SAMPLE_RATE:
        frames += [frame.pcm for frame in engine.step([0]).values()]
    return np.concatenate(frames)


REPLY_PCM = whole_reply()

#: As it is sent.
WHOLE = b"".join(PcmEncoder().encode(REPLY_PCM))


def assert_whole(talker: Talker, answer: Answer) -> None:
    """The user was understood, and every word of the answer came once, in order, and sounded."""
    assert SAID in talker.user_texts, talker.story()
    assert answer.transcript == REPLY, talker.story()
    assert answer.status == ["completed"], talker.story()
    assert not talker.complaints, f"{talker.complaints}: {talker.story()}"
    assert_sounds(answer)


def assert_sounds(answer: Answer) -> None:
    """Over one connection each sample came once; over several, some may have come again, but none is missing."""
    reached = 0
    for piece in map(bytes, answer.pieces.values()):
        # a later piece goes on anywhere before the end of the one before it
        starts = [at for at in range(reached, -1, -960) if WHOLE[at : at + len(piece)] == piece]
        assert starts, f"audio that does not go on from {reached / 48} ms"
        reached = max(reached, starts[0] + len(piece))
    assert reached == len(WHOLE), f"{(len(WHOLE) - reached) / 48} ms of the reply never came"


def assert_undisturbed(talker: Talker) -> None:
    """This session lost nobody, and did not notice that others did."""
    assert not talker.errors, talker.story()
    assert talker.longest_gap("response.output_audio.delta") < UNDISTURBED_S, talker.story()
