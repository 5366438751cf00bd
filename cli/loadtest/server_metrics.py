"""The server's own figures of a run: its histograms before and after, from all pages of metrics that come."""

import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from http.client import HTTPException
from urllib.parse import urlsplit

from cli.loadtest import histogram
from cli.loadtest.histogram import Histogram

#: A page of metrics that takes longer is as good as none.
PATIENCE_S = 3.0

#: What is shown of the server's: name of the histogram, what it is called, unit, and the factor that makes it so.
SHOWN: Sequence[tuple[str, str, str, float]] = (
    ("worker_stt_ttft", "STT: answer for a session's first frame", "ms", 1000),
    ("antiphon_frame_wait_seconds", "STT: a frame's wait for its step", "ms", 1000),
    ("antiphon_end_of_turn_seconds", "end of turn", "ms", 1000),
    ("worker_vllm_ttft", "LLM: request to first word", "ms", 1000),
    ("antiphon_llm_first_word_seconds", "LLM: claim to first word", "ms", 1000),
    ("antiphon_word_lag_seconds", "a word from the LLM to the client's socket", "ms", 1000),
    ("worker_tts_ttft", "TTS: first word to first audio", "ms", 1000),
    ("antiphon_tts_first_audio_seconds", "TTS: first word at its worker to first audio", "ms", 1000),
    ("antiphon_reply_wait_seconds", "end of turn to first audio sent", "ms", 1000),
    ("antiphon_voice_to_voice_seconds", "voice to voice, at the server", "ms", 1000),
    ("antiphon_late_audio_seconds", "late audio, at the server", "ms", 1000),
    ("antiphon_realtime_factor", "realtime factor of generation", "×", 1),
)

#: Less is worse of these: their p95 is what 95 % reach.
UPWARDS = frozenset({"antiphon_realtime_factor"})


@dataclass(frozen=True)
class ServerRow:
    """A quantile of a histogram is certain only up to its bucket: (above, up to)."""

    name: str
    label: str
    unit: str
    count: int
    mean: float
    median: tuple[float, float]
    p95: tuple[float, float]


Pages = Mapping[str, str]
"""By address; a page that did not come is not there."""


def default_urls(url: str) -> list[str]:
    """Where the web tier of that server shows its metrics."""
    parts = urlsplit(url)
    return [f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}/metrics"]


def pages(urls: Sequence[str]) -> Pages:
    """What can be had of them."""
    found = {}
    for url in urls:
        if urlsplit(url).scheme not in {"http", "https"}:
            continue
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                found[url] = answer.read().decode()
        except (OSError, ValueError, HTTPException):  # the last: whoever answers there speaks no HTTP
            continue
    return found


def since(before: Pages, after: Pages, name: str) -> Histogram:
    """What came into the histograms of that name, on all pages that were there both times."""
    both = [url for url in after if url in before]
    found = [histogram.read(after[url], name).since(histogram.read(before[url], name)) for url in both]
    return reduce(lambda one, other: one + other, found, Histogram({}, 0.0))


def rows(before: Pages, after: Pages) -> list[ServerRow]:
    """All that has values."""
    found = []
    for name, label, unit, factor in SHOWN:
        values = since(before, after, name)
        mean = values.mean
        if mean is None:
            continue
        share = 0.05 if name in UPWARDS else 0.95
        median, p95 = (_bucket(values, at, factor) for at in (0.5, share))
        found.append(ServerRow(name, label, unit, values.count, mean * factor, median, p95))
    return found


def _bucket(values: Histogram, share: float, factor: float) -> tuple[float, float]:
    quantile = values.quantile(share)
    assert quantile is not None
    return quantile.low * factor, quantile.high * factor
