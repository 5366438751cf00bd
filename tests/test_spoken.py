"""What is said for what is written."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpu_workers.spoken import RULES, markup, spoken


def said(text, language="en"):
    return " ".join(filter(None, spoken([word + " " for word in text.split(" ")], language)))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("It is **very important**.", "It is very important."),
        ("***Both*** __of__ ~~them~~ `code`", "Both of them code"),
        ("## A heading", "A heading"),
        ("- a point", "a point"),
        ("* a point", "a point"),
        ("- [x] a task", "a task"),
        ("> quoted", "quoted"),
        ("See [the link text](http://x.org/y).", "See the link text."),
        ('See [this](http://x.org "Title here") now', "See this now"),
        ("![a cat](cat.png) sleeps", "a cat sleeps"),
        ("Yes ! Who ?", "Yes! Who?"),
        ("as shown[2] before [1].", "as shown before."),
        ("| Name | Age |", "Name, Age"),
        ("|---|:---:|", ""),
        ("<b>bold</b> and <a href='x y'>a link</a>", "bold and a link"),
        ("fish &amp; chips", "fish and chips"),
        ("snake_case_name", "snake case name"),
        ("Hello 😀👍🏽 world 👩‍👩‍👧 1️⃣ 🇫🇷", "Hello world one"),
        ("ok :-) <3 fine", "ok fine"),
        ("*clears throat* Well", "Well"),
        ("[laughs softly] Yes", "Yes"),
        ("(sighs) No, (laughter) no", "No, no"),
        ("_whispers_ come", "come"),
        ("*softly smiles at you* hi", "hi"),
        ("He *really* means it", "He really means it"),
        ("he writes [sic] (so they say)", "he writes sic (so they say)"),
        ("**unclosed and [open (and <b", "unclosed and open (and b"),
        ("wait... what—no – yes -- so", "wait, what, no, yes, so"),
        ("“quoted” ‘it’s’", "\"quoted\" 'it's'"),
    ],
)
def test_what_is_no_speech_is_taken_out(written, expected):
    assert said(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("7 or 42", "seven or forty-two"),
        ("1,234,567", "one million two hundred and thirty-four thousand five hundred and sixty-seven"),
        ("3.14 and .5", "three point one four and point five"),
        ("-5 or −5", "minus five or minus five"),
        ("007", "zero zero seven"),
        (
            "12345678901234567890",
            "one two three four five six seven eight nine zero one two three four five six seven eight nine zero",
        ),
        ("1st, 22nd and 103rd", "first, twenty-second and one hundred and third"),
        ("since 1999, in 2026", "since nineteen ninety-nine, in twenty twenty-six"),
        ("in 1066 but 1066 people", "in ten sixty-six but one thousand and sixty-six people"),
        ("the 1990s and '80s", "the nineteen nineties and eighties"),
        ("3-5 or 3–5 or 3 - 5", "three to five or three to five or three to five"),
        ("1939-1945", "nineteen thirty-nine to nineteen forty-five"),
        ("8 - 3 = 5", "eight minus three equals five"),
        ("1/2, 3/4 and 2 1/2", "one half, three quarters and two and a half"),
        ("½ or 2½", "one half or two and a half"),
        ("24/7", "twenty-four seven"),
        ("2*3, 2 × 3, 4x6", "two times three, two times three, four by six"),
        ("50% or 10–15 %", "fifty percent or ten to fifteen percent"),
        ("version 1.2.3", "version one point two point three"),
        ("192.168.0.1", "one ninety-two dot one sixty-eight dot zero dot one"),
        ("x² + y^3", "x squared plus y cubed"),
        ("call 555-1234", "call five five five, one two three four"),
        ("(555) 123-4567", "five five five, one two three, four five six seven"),
        ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
        ("0800 123 456", "zero eight zero zero, one two three, four five six"),
        ("dial 911", "dial nine one one"),
    ],
)
def test_numbers_are_said_as_people_say_them(written, expected):
    assert said(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("23 November 2026", "the twenty-third of November, twenty twenty-six"),
        ("the 23 November", "the twenty-third of November"),
        ("November 23, 2026", "November twenty-third, twenty twenty-six"),
        ("the 3rd of May", "the third of May"),
        ("Nov. 5 and May 5-7", "November fifth and May fifth to seventh"),
        ("it may 5 times", "it may five times"),
        ("2026-11-23.", "November twenty-third, twenty twenty-six."),
        (
            "11/23/2026 and 23.11.2026",
            "November twenty-third, twenty twenty-six and November twenty-third, twenty twenty-six",
        ),
        ("3:45 pm", "three forty-five P-M"),
        ("at 3:05.", "at three oh five."),
        ("3pm, 10 a.m. today", "three P-M, ten A-M today"),
        ("at 5 p.m.", "at five P-M."),
        ("12:00, 15:30, 0:00", "twelve o'clock, fifteen thirty, midnight"),
    ],
)
def test_dates_and_times_are_said_as_people_say_them(written, expected):
    assert said(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("5 km, 1 km", "five kilometers, one kilometer"),
        ("-3.5 °C or 20°F", "minus three point five degrees Celsius or twenty degrees Fahrenheit"),
        ("3.5 GHz, 10kg", "three point five gigahertz, ten kilograms"),
        ("60 mph or 100 km/h", "sixty miles per hour or one hundred kilometers per hour"),
        ("50 m²", "fifty square meters"),
        ("a 5-km run", "a five kilometers run"),
        ("5'10\" tall", "five foot ten tall"),
        ("$5.20", "five dollars and twenty cents"),
        ("$1 and $0.50", "one dollar and fifty cents"),
        ("€10, £3m, 5 USD", "ten euros, three million pounds, five U-S dollars"),
        ("$3 million", "three million dollars"),
        ("$5-10 or $20/month", "five to ten dollars or twenty dollars per month"),
        ("US$1.5bn", "one point five billion U-S dollars"),
        ("£2.50 and £0.01", "two pounds and fifty pence and one penny"),
    ],
)
def test_amounts_are_said_as_people_say_them(written, expected):
    assert said(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("https://www.antiphon.org/docs?x=1.", "antiphon dot org slash docs."),
        ("bob_b@example.co.uk", "bob underscore b at example dot co dot U-K"),
        ("antiphon.org, readme.md", "antiphon dot org, readme dot M-D"),
        ("http://x.com/" + "a/" * 100, "x dot com"),
        ("in /usr/bin", "in slash usr slash bin"),
        ("@alice #3 #fun", "at alice number three hashtag fun"),
        ("NASA, HTML, USB-C, IBM", "Nasa, H-T-M-L, U-S-B-C, I-B-M"),
        ("APIs and PCs", "A-P-I's and P-C's"),
        ("STOP it NOW! I am OK", "stop it now! I am okay"),
        ("THIS IS IT", "this is it"),
        ("MP3, HTML5, COVID-19, 5G", "M-P three, H-T-M-L five, Covid nineteen, five G"),
        ("R&D at AT&T", "R and D at A-T and T"),
        ("a & b + c = d @ e → f", "a and b plus c equals d at e to f"),
        ("C# or C++", "C sharp or C plus plus"),
        ("he/she and/or TCP/IP", "he or she and or T-C-P slash I-P"),
        ("Dr. Smith of St. Louis", "Doctor Smith of Saint Louis"),
        ("on Main St. now", "on Main street now"),
        ("e.g. this, i.e. that, etc.", "for example this, that is that, et cetera."),
        ("cats vs. dogs, approx. 5", "cats versus dogs, approximately five"),
        ("the U.S. Army", "the U-S Army"),
        ("in the U.S.", "in the U-S."),
        ("J.R.R. Tolkien", "J-R-R Tolkien"),
        ("No. 5. No.", "number five. No."),
        ("Henry VIII, World War II, I am", "Henry the eighth, World War two, I am"),
        ("chapter IV is the part I like", "chapter four is the part I like"),
    ],
)
def test_names_and_signs_are_said_as_people_say_them(written, expected):
    assert said(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("81 % de 1 234", "quatre-vingt-un pour cent de mille deux cent trente-quatre"),
        ("3,50 € à 14h30", "trois virgule cinq zéro euros à quatorze heures trente"),
        ("le **1er** mai, -5", "le premier mai, moins cinq"),
    ],
)
def test_french_has_numbers_of_its_own(written, expected):
    assert said(written, "fr-CA") == expected


def test_of_other_languages_only_the_markup_goes():
    assert said("**sehr** gut, 5 km 😀 für 3,50 €", "de") == "sehr gut, 5 km für 3,50 €"


def test_what_several_words_say_stays_in_order_on_their_numbers():
    assert spoken(["It", "costs", "$3", "million", "*clears", "throat*", "on", "May", "5,", "2026."]) == [
        "It", "costs", "three", "million dollars", "", "", "on", "May", "fifth,", "twenty twenty-six.",
    ]  # fmt: skip


# --- any input

#: Halves and wholes of what rules look for.
PIECES = """
    * ** _ ` # > < | [ ] ( ) ]( *clears throat* [laughs (sighs) <b </b> &amp; & http:// www. @ a@b.c 5 -3.5 1,000 $ €
    $5.20 km °C % 1/2 / 3:45 pm 2026-11-23 May 23, 2026 3rd of +1 555-1234 NASA HTML I VIII Henry World War Dr. e.g.
    U.S. etc. … — - = → ^2 ½ ² 😀 你好。 สวัสดี مرحبا ٣ ５ ﬁ İ
"""
TRICKY = st.sampled_from([*PIECES.split(), "\u200d", "\ufe0f", "\u20e3", "\ud800", "\x00", "\n\n"])
WORD = st.one_of(TRICKY, st.lists(TRICKY, max_size=4).map("".join), st.text(max_size=15))
CLAUSE = st.lists(WORD, max_size=12)
LANGUAGE = st.sampled_from(["en", "fr", "de", "", "x-klingon"])


@settings(max_examples=200, deadline=None)
@given(CLAUSE, LANGUAGE)
def test_every_word_of_any_clause_has_its_text(words, language):
    texts = spoken(words, language)
    assert len(texts) == len(words)
    for text in texts:
        assert text == " ".join(text.split())
        assert not text or any(sign.isalnum() for sign in text)
        assert not re.search(r"[*`~#|<>\[\]{}\\^\ud800-\udfff\x00]", text)


SOUNDING = """
    5 km May 2026 3rd of $5 million 555-1234 0800 USD EUR Henry VIII 3:45 pm NASA Dr. St. no. 10 x 1/2 http://a.b e.g.
    C++ a/b K m sq ft - 5.20 1.00 / month hour € $ 0.50 3% 20 ° C a.m. (555) Nov.
"""
PLAIN = st.from_regex(r"[A-Za-z0-9]{1,6}[.,!?]?", fullmatch=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(PLAIN | st.sampled_from(SOUNDING.split()), max_size=12))
@example(["10", "x", "5"])
@example(["2", "1/2"])
@example(["5", "-", "10", "K", "USD", "/", "month"])
@example(["5.20", "USD"])
@example(["USD", "5", "million"])
@example(["6", "sq", "ft"])
@example(["he", "/", "she"])
def test_every_word_of_letters_and_digits_is_heard(words):
    heard = list(zip(words, spoken(words), strict=True))
    assert all(text for word, text in heard if any(sign.isalnum() for sign in word)), heard


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(TRICKY, st.from_regex(r"[A-Za-z]{1,8}[.,!?]?", fullmatch=True)), max_size=8))
def test_english_leaves_no_digit_to_the_voice(words):
    assert not re.search(r"[0-9]", " ".join(spoken(words)))


SETTLED = """
    It is 5 km, $5.20 or NASA and HTML on May 23, 2026 at 3:45 pm. Dr. Smith (so) **said** *clears throat* 😀 bob@x.org
    50% R&D VIII
"""


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(SETTLED.split()), max_size=12))
def test_what_was_made_speakable_stays_as_it_is(words):
    once = spoken(words)
    assert spoken(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        "*",
        "[",
        "(laughs ",
        "<a ",
        "1",
        "1,",
        "1.",
        "1/",
        "$1",
        "a@",
        "www.",
        "A",
        ".",
        "-",
        " ",
        "|",
        "#",
        "&a",
        "你",
        "😀",
    ],
)
def test_twenty_thousand_characters_are_as_good_as_two(piece):
    text = (piece * 20_000)[:20_000] + "x"
    (whole,) = spoken([text])
    assert len(whole) < 20 * len(text)
    assert len(spoken(text.split(" "))) == len(text.split(" "))


def repetitions(parsed):
    """(most, what is repeated) for each repetition in a pattern, at any depth."""
    for name, value in parsed:
        if str(name) in ("MAX_REPEAT", "MIN_REPEAT"):
            yield value[1], value[2]
            yield from repetitions(value[2])
        elif str(name) == "SUBPATTERN":
            yield from repetitions(value[3])
        elif str(name) in ("ASSERT", "ASSERT_NOT"):
            yield from repetitions(value[1])
        elif str(name) == "BRANCH":
            for branch in value[1]:
                yield from repetitions(branch)


def patterns():
    lists = [*RULES.values(), markup._SIGNS, markup._REWRITTEN]
    return {rule[0].pattern: rule[0] for rules in lists for rule in rules} | {
        found.pattern: found for found in markup._REMOVED
    }


@pytest.mark.parametrize("pattern", patterns().values(), ids=lambda pattern: pattern.pattern[:40])
def test_no_pattern_can_take_more_than_linear_time(pattern):
    """Bounded repetitions cost a constant at each sign; an unbounded one may hold a single class of signs only."""
    parser = pytest.importorskip("re._parser")
    for most, what in repetitions(parser.parse(pattern.pattern, pattern.flags)):
        if most > 2_000:
            assert len(what) == 1 and str(what[0][0]) in ("IN", "LITERAL", "NOT_LITERAL"), pattern.pattern
