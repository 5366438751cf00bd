"""How letters and sounds that are no words reach a synthesizer. Pure."""

import re

#: Punctuation that ends a piece of a sentence, and says how its melody ends.
MARKS = ".,!?…—;:"

#: A single capital A beside another single letter is the letter, not the article.
_LETTER_A = re.compile(r"(?:(?<=\b[A-Z][ ,])|(?<=\b[A-Z], ))A\b|\bA(?=,? [A-Z]\b)|^A(?=[,.]?$)")

#: How Kokoro's phonemes write what people say while they think.
_SOUNDS = {"uh-huh": "ˈʌhˌʌ", "uh": "ˈʌː", "um": "ˈʌːm", "hmm": "hˈəmm"}
_SOUND = re.compile(r"\b(" + "|".join(_SOUNDS) + r")\b", re.IGNORECASE)


def ipa_in_kokoro(text: str) -> str:
    """With misaki's [text](/phonemes/) where spelling would mislead."""
    text = _LETTER_A.sub("[A](/ˈA/)", text)
    return _SOUND.sub(lambda found: f"[{found[0]}](/{_SOUNDS[found[0].lower()]}/)", text)


def ipa_in_piper(text: str) -> str:
    """With Piper's [[phonemes]] where spelling would mislead; espeak knows "um" and "uh"."""
    return _LETTER_A.sub("[[ˈeɪ]]", text)
