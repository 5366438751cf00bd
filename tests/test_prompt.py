"""The prompt keeps within the model's context, and changes its beginning seldom."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.engine_choice import EngineChoice
from config.errors import ClientError, PromptTooLong
from config.messages import MAX_MESSAGES, ChatMessage
from config.settings import load
from config.tokens import message_tokens, text_tokens
from web import prompt
from web.config import Truncation, Wishes

CONTEXT = 1024
WISHES = Wishes(instructions="Be kind.", max_tokens=256)

said = st.text(st.sampled_from("abc 0123é你🙂"), max_size=400)
histories = st.lists(
    st.builds(ChatMessage, st.sampled_from(["user", "assistant", "system"]), said), max_size=60
)
ratios = st.one_of(st.none(), st.floats(0, 1))


def turns(count: int, words: int = 20) -> list[ChatMessage]:
    """User and assistant in turns, the user first."""
    return [ChatMessage(("user", "assistant")[n % 2], f"word {n} " * words) for n in range(count)]


def dropped(history: list[ChatMessage], truncation: Truncation, context: int | None = CONTEXT) -> int:
    wishes = Wishes(instructions="Be kind.", max_tokens=256, truncation=truncation)
    return prompt.ask(1, wishes, history, context).dropped


@given(histories, ratios, st.one_of(st.none(), st.integers(1, 2000)), st.integers(256, 4096))
def test_a_prompt_fits_or_says_that_the_newest_words_do_not(history, retention, history_tokens, context):
    wishes = Wishes(instructions="Be kind.", truncation=Truncation("auto", retention, history_tokens))
    try:
        asked = prompt.ask(1, wishes, history, context)
    except PromptTooLong:
        newest = max((n for n, message in enumerate(history) if message.role == "user"), default=-1)
        kept = history[newest:] if newest >= 0 else history[-1:]
        assert sum(map(message_tokens, kept)) > context - context // 2 - 128
        return
    messages = asked.order.messages
    assert sum(map(message_tokens, messages)) + asked.order.max_tokens <= context
    assert messages[0].role == "system" and messages[0].content.startswith("Be kind.")
    assert messages == prompt.messages("Be kind.", history[asked.dropped :])
    users = [message for message in history if message.role == "user"]
    if users:
        assert users[-1] in history[asked.dropped :]


@given(histories, st.integers(0, 60))
def test_what_was_dropped_never_comes_back(history, count):
    earlier = prompt.surplus(history[:count], Truncation("auto", 0.5), 10_000)
    assert earlier <= prompt.surplus(history, Truncation("auto", 0.5), 10_000)


def test_without_a_known_context_the_count_of_messages_is_the_limit():
    asked = prompt.ask(1, WISHES, turns(99), None)
    assert asked.order.messages[-1].content == turns(99)[-1].content.strip()
    assert prompt.HISTORY_BLOCK <= 99 - asked.dropped <= prompt.HISTORY_MESSAGES


@pytest.mark.parametrize(
    ("context", "words", "most"),
    [(None, 1, 1 + 99 // prompt.HISTORY_BLOCK), (CONTEXT, 20, 25)],
    ids=["by their count", "by their length"],
)
def test_the_beginning_of_the_prompt_changes_once_in_many_turns(context, words, most):
    """Where it stays the same, an engine's cache serves it."""
    starts = [prompt.ask(1, WISHES, turns(n, words), context).dropped for n in range(1, 99, 2)]
    assert starts == sorted(starts)
    assert starts[-1] > 50
    assert len(set(starts)) <= most


@pytest.mark.parametrize(("ratio", "least", "most"), [(0.0, 0.0, 0.3), (0.5, 0.3, 0.7), (0.8, 0.6, 0.95)])
def test_the_ratio_says_how_much_is_kept_when_something_must_go(ratio, least, most):
    wish = Truncation("auto", ratio, 500)
    history = turns(60, 5)
    counts = [prompt.surplus(history[:n], wish, None) for n in range(1, 61)]
    drops = [n for n, (before, now) in enumerate(pairwise(counts), 2) if now > before]
    kept = [sum(map(message_tokens, history[counts[n - 1] : n])) / 500 for n in drops]
    assert drops and all(least <= share <= most for share in kept)


def test_a_smaller_limit_of_the_clients_counts():
    assert dropped(turns(30, 10), Truncation("auto", 0.5, 200)) > dropped(
        turns(30, 10), Truncation("auto", 0.5)
    )


def test_disabled_drops_nothing_and_says_so_when_there_is_no_room():
    assert dropped(turns(40, 1), Truncation("disabled")) == 0
    with pytest.raises(PromptTooLong, match="disabled"):
        dropped(turns(40, 20), Truncation("disabled"))
    assert dropped(turns(prompt.MOST_MESSAGES), Truncation("disabled"), None) == 0
    with pytest.raises(PromptTooLong, match="disabled"):
        dropped(turns(MAX_MESSAGES), Truncation("disabled"), None)


def test_no_prompt_has_more_messages_than_an_order_may_carry():
    wishes = Wishes(truncation=Truncation("auto", 0.5, 10**6))
    asked = prompt.ask(1, wishes, turns(MAX_MESSAGES, 1)[1:], 10**6)
    assert 900 < len(asked.order.messages) <= MAX_MESSAGES


def test_a_question_longer_than_the_model_is_an_error_and_no_draft():
    question = [ChatMessage("user", "why " * 2000)]
    with pytest.raises(PromptTooLong, match="said last"):
        prompt.ask(1, WISHES, question, CONTEXT)
    assert prompt.draft(1, WISHES, question, CONTEXT) is None
    assert prompt.draft(1, WISHES, question[:0], CONTEXT) == prompt.ask(1, WISHES, [], CONTEXT).order


def test_an_answer_takes_at_most_half_of_the_context():
    assert prompt.ask(1, Wishes(max_tokens=4096), [], CONTEXT).order.max_tokens == CONTEXT // 2
    assert prompt.ask(1, Wishes(max_tokens=4096), [], None).order.max_tokens == 4096


@given(st.text(max_size=3000), st.integers(1, 4096), st.integers(256, 4096))
def test_instructions_that_are_taken_leave_room_for_a_question(instructions, max_tokens, context):
    wishes = Wishes(instructions=instructions, max_tokens=max_tokens)
    question = [ChatMessage("user", "a" * 300)]
    try:
        prompt.require_room(wishes, context)
    except ClientError as error:
        assert error.param == "session.instructions"
    else:
        assert prompt.ask(1, wishes, question, context).dropped == 0


def test_digits_count_and_so_does_every_byte_of_other_writings():
    assert [text_tokens(text) for text in ("", "abcdef", "123456", "你好", "🙂🙂🙂")] == [0, 2, 6, 2, 4]


@pytest.mark.parametrize(
    ("named", "options", "window"),
    [
        (None, {}, None),
        (512, {}, 512),
        (None, {"context_tokens": 300}, 300),
        (512, {"context_tokens": 300}, 300),
        (512, {"max_model_len": 300, "url": "http://llm.example.org/v1"}, 512),
    ],
)
def test_the_smaller_context_counts(named, options, window):
    assert EngineChoice(engine="x", slots=1, context_tokens=named, options=options).window_tokens == window


def test_the_embedded_profile_knows_its_models_context():
    assert load("embedded").llm.window_tokens == 2048
