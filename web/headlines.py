"""The newest headlines, in this process's hand: whoever asks gets them at once, or none; a greenlet fetches them.

One web process of all asks the news server and shares its answer in Redis. No session waits for either.
"""

import hashlib
import logging
import time
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import Any

import gevent
import msgspec

from config import redis_keys as keys
from config.news import NewsSettings
from tasks import kept
from tasks.streams import Client, RedisError

log = logging.getLogger(__name__)

#: How often a process without headlines looks whether another one has fetched some.
LOOK_S = 15.0

#: No answer may be longer: twenty articles of NewsAPI's are 30 kB.
MOST_BYTES = 1 << 20

#: Of one title, source or description so much is told.
TITLE_CHARACTERS, SOURCE_CHARACTERS, DESCRIPTION_CHARACTERS = 160, 40, 200

#: How NewsAPI names an article that its publisher took back.
WITHDRAWN = "[Removed]"

Fetch = Callable[[NewsSettings], bytes]


class NewsFailed(Exception):
    """No headlines came; the message says why, and holds no key."""


class _Source(msgspec.Struct):
    name: str | None = None


class _Article(msgspec.Struct):
    title: str | None = None
    description: str | None = None
    source: _Source | None = None


class _Answer(msgspec.Struct):
    articles: list[_Article]


def read(answer: bytes, rules: NewsSettings) -> tuple[str, ...]:
    """A line for each article, as many as may be told. Raises NewsFailed where there is none."""
    try:
        articles = msgspec.json.decode(answer, type=_Answer).articles
    except (msgspec.DecodeError, RecursionError) as error:
        raise NewsFailed("the answer is not of NewsAPI's shape") from error
    lines: list[str] = []
    room = rules.most_characters
    for line in filter(None, map(_line, articles)):
        if len(lines) < rules.most and len(line) < room:
            lines.append(line)
            room -= len(line) + 1
    if not lines:
        raise NewsFailed("the answer has no articles")
    return tuple(lines)


def source(rules: NewsSettings) -> str:
    """Names who is asked, for what and with which key: whoever mends one of them need not wait for what was before."""
    key = rules.key.get_secret_value() if rules.key else ""
    return hashlib.sha256(f"{rules.url}\0{key}".encode()).hexdigest()[:16]


def _line(article: _Article) -> str:
    title = _plain(article.title, TITLE_CHARACTERS)
    if title == WITHDRAWN:
        return ""
    source = _plain(article.source.name if article.source else None, SOURCE_CHARACTERS)
    more = _plain(article.description, DESCRIPTION_CHARACTERS)
    return title and f"- {title}{source and f' ({source})'}{more and f': {more}'}"


def _plain(text: str | None, longest: int) -> str:
    """One line of it, cut at a word."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text or "").split())
    return plain if len(plain) <= longest else plain[:longest].rpartition(" ")[0] + " …"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key would go along, to whoever is named."""

    def redirect_request(self, *_: Any) -> None:
        """None of them."""


_opener = urllib.request.build_opener(_NoRedirects)


def fetch(rules: NewsSettings) -> bytes:
    """Asks the news server. Raises NewsFailed, within the deadline."""
    key = rules.key.get_secret_value() if rules.key else ""
    request = urllib.request.Request(rules.url, headers={"Authorization": key, "User-Agent": "antiphon"})
    late = NewsFailed(f"no answer within {rules.deadline_s:g} s")
    try:
        with gevent.Timeout(rules.deadline_s, late), _opener.open(request, timeout=rules.deadline_s) as said:
            answer: bytes = said.read(MOST_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise NewsFailed(str(getattr(error, "code", "") or type(error).__name__)) from error
    if len(answer) > MOST_BYTES:
        raise NewsFailed("the answer is too long")
    return answer


class Headlines:
    """What one web process knows of the news."""

    def __init__(
        self, rules: NewsSettings, media: Client, *,
        fetch: Fetch = fetch, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._rules = rules
        self._media = media
        self._fetch = fetch
        self._clock = clock
        self._source = source(rules)
        self._lines: tuple[str, ...] = ()
        self._until_s = float("-inf")

    def follow(self) -> None:
        """Keeps them fresh from now on, where a key is set."""
        if self._rules.key is not None:
            gevent.spawn(self._run)

    @property
    def newest(self) -> Sequence[str] | None:
        """A line for each; empty while there are none; None where none are set up. Never waits.

        Old ones serve while new ones are asked for.
        """
        if self._rules.key is None:
            return None
        return self._lines if self._clock() < self._until_s + self._rules.again_s else ()

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except RedisError as error:
                log.warning("headlines wait for Redis: %s", type(error).__name__)
            except Exception:
                log.exception("headlines could not be read")
            gevent.sleep(max(LOOK_S, self._until_s - self._clock()))

    def look(self) -> None:
        """Takes what another process fetched, or fetches. Raises RedisError."""
        answer, left_s = kept.find(self._media, keys.headlines(self._source))
        try:
            if answer is None:
                if not kept.first(self._media, keys.headlines_asked(self._source), self._rules.again_s):
                    return  # another process asks, or it failed a short time ago
                answer, left_s = self._fetch(self._rules), self._rules.keep_s
                read(answer, self._rules)
                kept.keep(self._media, keys.headlines(self._source), answer, self._rules.keep_s)
            self._lines = read(answer, self._rules)
            self._until_s = self._clock() + left_s
        except NewsFailed as error:
            log.warning("no headlines: %s", error)
