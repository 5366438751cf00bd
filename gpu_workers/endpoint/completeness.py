"""Whether English words look like a whole turn: signs for and against, read from the recognised text. Pure.

A sign says what stands at the end, not what it means for the turn: how much each weighs was fitted (see `ending`).
"""

import re
from collections.abc import Sequence
from itertools import takewhile

from gpu_workers.endpoint import lexicon

#: Every sign there is; those not found are 0.
SIGNS = (
    "nothing",  # no words at all
    "question_mark",
    "comma",
    "trails_off",  # an ellipsis or a dash
    "unmarked",  # no punctuation
    "determiner",
    "preposition",
    "particle",  # a preposition that also ends sentences
    "conjunction",
    "auxiliary",
    "subject",
    "degree",
    "filler",
    "transitive",
    "opening",  # "I'd like to", "my name is"
    "half",  # "if it rains": a clause that wants another
    "answer",  # "yes", "that's all"
    "courtesy",  # "please", "tomorrow"
    "question",  # begins like one and ends like a whole one
    "list_open",  # "apples, oranges"
    "list_closed",  # "apples, oranges and pears"
    "letters",  # spelled letters at the end
    "digits_open",  # fewer digits than numbers of that kind have
    "digits_done",  # as many as a phone number has
    "number",  # another number at the end
    "address_open",  # an e-mail address without its last part
    "address_done",
    "one_word",  # a single word that is no answer
    "fragment",  # "At nine.", "The blue one.": a short answer, or how a sentence begins
    "code",  # something is dictated: a plate, a password, an address
    "capitals",  # "QXU": letters that the recogniser took for a word
    "words",  # how many in all, 0 to 1
)

#: A phone number of fewer digits is not complete; of these lengths it is.
PHONE_DIGITS = frozenset({7, 10, 11})

#: Digits in a row that are more than an amount or a year.
LONG_NUMBER = 5

#: The last part of a list is no longer, in words.
LIST_WORDS = 4

#: Words of the longest opening.
LONGEST_OPENING = max(len(phrase.split()) for phrase in lexicon.OPENINGS)

#: Words of a question that is whole.
QUESTION_WORDS = 3

#: An address with a dot goes on for so many words at most.
DOT_WITHIN = 6

#: A fragment has no more words.
FRAGMENT_WORDS = 4

#: More words than this say nothing more about the end.
MANY_WORDS = 12

_AROUND = " \t\n\"'\u201c\u201d"
_WORD = re.compile(r"[a-z0-9']+")
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
_CLAUSE_END = re.compile(r"[,;:]")
_CAPITALS = re.compile(r"\b(?!OK\b|TV\b|US\b|UK\b|USA\b)[A-Z]{2,5}[.,?]?$")
_SPELLED = re.compile(r"\b(?:[a-z]-)+[a-z]?\b")


def signs(text: str) -> dict[str, float]:
    """The signs found in what was understood of a turn so far."""
    plain = text.lower().replace("\u2019", "'").strip(_AROUND)
    if not _WORD.search(plain):
        return {"nothing": 1.0}
    *before, last = [part for part in _SENTENCE_END.split(plain) if _WORD.search(part)]
    words, everything = _words(last), _words(plain)
    found = {
        _mark(plain),
        _tail(words),
        _shape(last, words),
        _spelled(plain, everything),
        *_overall(text, everything),
    }
    if before:
        found -= {"half"}  # "It will be late. If that helps."
    elif "half" in found:
        found -= {"courtesy"}  # "If it rains tomorrow."
    found -= {""}
    return dict.fromkeys(found, 1.0) | {"words": min(len(everything), MANY_WORDS) / MANY_WORDS}


def _overall(text: str, words: Sequence[str]) -> set[str]:
    """What the whole text is about."""
    kinds = {
        "code": bool(lexicon.CODES & set(words)),
        "capitals": bool(_CAPITALS.search(text)),
        "fragment": 1 < len(words) <= FRAGMENT_WORDS and words[0] in lexicon.FRAGMENTS,
    }
    return {kind for kind, seen in kinds.items() if seen}


def _words(sentence: str) -> list[str]:
    return _WORD.findall(_SPELLED.sub(lambda match: match[0].replace("-", " "), sentence))


def _mark(plain: str) -> str:
    """How the text is punctuated at its end; a full stop is the rule."""
    if plain.endswith(("...", "\u2026", "-", "\u2014")):
        return "trails_off"
    return {"?": "question_mark", ",": "comma", ".": "", "!": ""}.get(plain[-1], "unmarked")


def _tail(words: Sequence[str]) -> str:
    """What the last words ask for."""
    last = words[-1]
    if " ".join(words) in lexicon.ANSWERS:
        return "answer"
    if any(" ".join(words[-length:]) in lexicon.OPENINGS for length in range(1, LONGEST_OPENING + 1)):
        return "opening"
    if last in lexicon.AUXILIARIES and len(words) > 1 and words[-2] in lexicon.SUBJECTS | {"it", "you"}:
        return ""  # "I think we can"
    kinds = {
        "filler": lexicon.FILLERS,
        "conjunction": lexicon.CONJUNCTIONS,
        "determiner": lexicon.DETERMINERS,
        "particle": lexicon.PARTICLES,
        "preposition": lexicon.PREPOSITIONS,
        "auxiliary": lexicon.AUXILIARIES,
        "subject": lexicon.SUBJECTS,
        "courtesy": lexicon.COURTESIES,
        "degree": lexicon.DEGREES,
        "transitive": lexicon.TRANSITIVES,
    }
    return next((kind for kind, members in kinds.items() if last in members), "")


def _shape(sentence: str, words: Sequence[str]) -> str:
    """What the whole last sentence is like."""
    if len(words) == 1 and words[0] not in lexicon.ANSWERS:
        return "one_word"
    clauses = [_words(clause) for clause in _CLAUSE_END.split(sentence)]
    clauses = [clause for clause in clauses if set(clause) - lexicon.FILLERS]
    if (
        len(clauses) <= 1
        and words[0] in lexicon.SUBORDINATORS
        and not _inverted(words)
        and "then" not in words
    ):
        return "half"
    if len(clauses) > 1 and _is_list(clauses):
        return "list_closed" if {"and", "or"} & set(clauses[-1][:-1] + clauses[-2][-2:]) else "list_open"
    return "question" if words[0] in lexicon.ASKING and len(words) >= QUESTION_WORDS else ""


def _is_list(clauses: Sequence[Sequence[str]]) -> bool:
    """The last clause is short, and a thing, as far as its ends can tell."""
    last = clauses[-1]
    begins_otherwise = last[0] in lexicon.COURTESIES | lexicon.SUBJECTS | (
        lexicon.CONJUNCTIONS - {"and", "or"}
    )
    return len(last) <= LIST_WORDS and not (begins_otherwise or _letters(last) or _numeric(last[-1]))


def _inverted(words: Sequence[str]) -> bool:
    """ "When is it": a question, not a clause."""
    return len(words) > 1 and words[1] in lexicon.ASKING


def _spelled(plain: str, words: Sequence[str]) -> str:
    """Letters, digits and addresses that are on their way or have arrived."""
    if words[-1] in lexicon.DOMAINS and ("dot" in words[-3:] or f".{words[-1]}" in plain):
        return "address_done"
    letters = _letters(words)
    if (
        "@" in plain
        or "dot" in words[-DOT_WITHIN:]
        or (letters and {"email", "mail", "address"} & set(words))
    ):
        return "address_open"
    return "letters" if letters else _counted(words)


def _counted(words: Sequence[str]) -> str:
    """What kind of number stands at the end."""
    run = list(takewhile(_numeric, reversed(words)))
    digits = sum(_digits(word) for word in run)
    if digits in PHONE_DIGITS or digits > max(PHONE_DIGITS):
        return "digits_done"
    if digits >= LONG_NUMBER or (digits and lexicon.NUMBER_WORDS & set(words)):
        return "digits_open"
    return "number" if run else ""


def _letters(words: Sequence[str]) -> bool:
    """A name or an address is being spelled: two letters or more at the end."""
    return len(words) > 1 and all(len(word) == 1 and word.isalpha() for word in words[-2:])


def _numeric(word: str) -> bool:
    return word.isdigit() or word in lexicon.NUMBERS


def _digits(word: str) -> int:
    """How many digits of a long number it stands for."""
    return len(word) if word.isdigit() else int(word in lexicon.DIGITS)
