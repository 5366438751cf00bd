"""Takes out of a text what is layout, picture or stage direction. Any language; nothing here says a number.

What goes: HTML tags, targets of links and images, citation marks such as [1], emphasis, headings, bullets, table bars,
emoji, emoticons, stage directions. What stays: the text between them, code too. A stage direction is a short phrase
in *stars*, [brackets] or (parentheses) that begins with a verb of the stage in its -s or -ing form, or is one of its
nouns; all other emphasis is read, and so is what stands in parentheses or brackets.
"""

import html
import re
import unicodedata
from collections.abc import Sequence

from gpu_workers.spoken.owned import Owned, Rule

#: Typographic signs that not every phonemiser knows, and the plain ones. Full-width letters and digits are Latin.
_PLAIN = {ord(sign): plain for sign, plain in zip("’‘‛“”„«»−‐‑﹣", '\'\'\'"""""----', strict=True)}
_PLAIN |= {
    ord("…"): "...",
    ord("½"): " 1/2",
    ord("⅓"): " 1/3",
    ord("⅔"): " 2/3",
    ord("¼"): " 1/4",
    ord("¾"): " 3/4",
}
_PLAIN |= {
    0xFEE0 + sign: chr(sign) for sign in range(0x21, 0x7F) if chr(sign).isalnum() or chr(sign) in "%+=$"
}
_PLAIN |= {ord("℃"): "°C", ord("℉"): "°F", ord("º"): "°", ord("№"): "No. ", ord("⁄"): "/", ord("µ"): "μ"}

#: Symbols that have a name; other "other symbols" of Unicode are pictures.
_NAMED = frozenset("°→⇒←")

#: Categories of signs that make no sound and join nothing: format, surrogate, private, unassigned, control.
_SILENT = frozenset({"Cf", "Cs", "Co", "Cn", "Cc"})

#: Verbs of the stage that stand alone often enough to be sure of them in (parentheses) too.
_VERBS = (
    "laugh|chuckl|giggl|smil|grinn?|sigh|gasp|cough|sneez|yawn|sniffl?|sobb?|cr|cri|cry|whisper|wink|nodd?|shrugg?|"
    "clear|paus|groan|moan|gulp|humm?|snort|smirk|blush|exhal|inhal|frown|blink|gestur|applaud|whistl|weep|scoff"
)
_NOUNS = "laughter|applause|music|silence|inaudible|pause|beat|sigh|gasp|cough|wink|smile|laugh|chuckle|giggle|grin"

#: How a stage direction begins, behind its opening sign.
LEAD = rf"(?:[a-z]{{2,12}}ly\s)?(?:(?:{_VERBS})(?:e?s|ies|ing)(?![^\W_])|(?:{_NOUNS})(?=[*_\])]))"
_MORE = r"[^*\[\]()\n]{0,40}"
_STAGE = re.compile(
    rf"(?<![\w*])\*{LEAD}{_MORE}\*(?!\*)|(?<!\w)_{LEAD}{_MORE}_|\[{LEAD}{_MORE}\]|\({LEAD}{_MORE}\)", re.I
)

_LINK = re.compile(r"!?\[([^\[\]\n]{0,300})\]\([^()\s]{0,2000}(?:\s\"[^\"\n]{0,200}\")?\)")
_LINK_REST = re.compile(r"\]\([^()\s]{0,2000}\)|\]\[[^\[\]\s]{0,100}\]")
_CITATION = re.compile(r"\s?\[\^?\d{1,3}\]|(?<=\w)\[\d{1,3}(?:[,-]\s?\d{1,3}){1,5}\]")
_ADDRESS = re.compile(r"<((?:https?:|mailto:)[^<>\s]{1,2000})>")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,300}>|<!--[^<>]{0,300}-->")
_ENTITY = re.compile(r"&(?:[A-Za-z]{2,8}|#\d{1,6}|#x[0-9a-fA-F]{1,5});")
_LINE_START = re.compile(
    r"(?:^|(?<=\n))\s?(?:#{1,6}\s|(?:>\s?){1,3}|[-*+•‣▪]\s(?:\[[ xX]\]\s)?|```\w{0,20}\n)"
)
_BAR_START = re.compile(r"(?:^|(?<=\n))\s?\|\s?|\s?\|(?=\s*(?:\n|$))")
_EMOTICON = re.compile(r"(?<!\S)(?:[:;=]['-]?[)(DPpOo/|*3]{1,3}|<3|\^_*\^)(?=[\s.,!?]|$)")

#: Order matters: a link may hold emphasis, a line may begin with a star.
_REMOVED = (_ADDRESS, _TAG, _LINK, _LINK_REST, _CITATION, _STAGE, _EMOTICON, _LINE_START, _BAR_START)


def _breath(match: re.Match[str]) -> str | None:
    """A dash in a sentence is a comma; between numbers it is said by the language."""
    before, after = (
        match.string[max(0, match.start() - 1) : match.start()],
        match.string[match.end() : match.end() + 1],
    )
    return None if (before.isdigit() or before in "%°") and (after.isdigit() or after in "$€£-") else ", "


_REWRITTEN: tuple[Rule, ...] = (
    (re.compile(r"(?<=\d)\s?\*{1,2}\s?(?=\d)"), lambda _: " × "),
    (re.compile(r"\*|`|~~|\u20e3|[\ufe00-\ufe0f]"), lambda _: ""),
    (re.compile(r"(?<![^\W_])_{1,40}|_{1,40}(?![^\W_])"), lambda _: ""),
    (re.compile(r"\s?\|\s?"), lambda _: ", "),
    (re.compile(r"\s?[–—―]\s?|(?<![\s-])--(?=\w)"), _breath),
    (re.compile(r"(?<=[^\W\d])[,.]?\s--?\s|\s--?\s(?=[^\W\d])"), lambda _: ", "),
    # A phonemiser runs the words around three dots together.
    (re.compile(r"(?<!\.)\.{2,8}(?=\s\S)"), lambda _: ","),
    (re.compile(r"(?<!\.)\.{2,8}(?![.\w])"), lambda _: "."),
    (re.compile(r"(?<!\.)\.{2,8}(?=\w)"), lambda _: ", "),
)

#: Left over of markup that was cut in two, and of what a language has no name for.
_REST = re.compile(r"[*`~_#|<>\[\]{}\\^–—―→⇒←]")
_LOOSE = re.compile(r"\s([,.;:!?])")
_MARK = re.compile(r"[.,;:!?€$£%°]")
_TWICE = re.compile(r"[,;:.](?=[,.;:!?])")


def plain(words: Owned) -> None:
    """Takes the markup out."""
    words.rewrite(_SIGNS)
    for pattern in _REMOVED:
        words.remove(pattern)
    words.rewrite(_REWRITTEN)


def tidy(words: Sequence[str]) -> list[str]:
    """What of the rewritten words a voice gets; "" for one with nothing to say, whose mark the word before it takes."""
    found: list[str] = []
    heard = -1
    for place, word in enumerate(words):
        if any(sign.isalnum() for sign in word):
            joined = _LOOSE.sub(r"\1", " ".join(_REST.sub(" ", word).split()))
            found.append(_TWICE.sub("", joined).lstrip(",.;:!?) "))
            heard = place
            continue
        found.append("")
        mark = _MARK.match(word)
        if mark and heard >= 0 and found[heard][-1:].isalnum():
            found[heard] += f" {mark[0]}" if mark[0] in "€$£%°" else mark[0]
    return found


def _sign(match: re.Match[str]) -> str | None:
    """A sign outside ASCII, or a control sign: its plain form, nothing, or itself (None)."""
    sign = match[0]
    if ord(sign) in _PLAIN:
        return _PLAIN[ord(sign)]
    kind = unicodedata.category(sign)
    if kind in _SILENT:
        return ""
    if kind in ("So", "Sk") and sign not in _NAMED:
        return " "
    return None


_SIGNS: tuple[Rule, ...] = (
    (_ENTITY, lambda match: html.unescape(match[0])),
    (re.compile(r"[^\x20-\x7e\n]"), _sign),
)
