"""How many words were misheard."""

import re

import jiwer


def words(text: str) -> str:
    """Lower case, no punctuation: `It's – TWO.` is "it's two"."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower().replace("’", "'")))


def word_error_rate(said: str, understood: str) -> float:
    """Words wrong, missing and added, over words said. Raises ValueError for nothing said."""
    if not words(said):
        raise ValueError("nothing was said")
    return float(jiwer.wer(words(said), words(understood)))
