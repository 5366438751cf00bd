"""The addresses that have a second one."""

from typing import Any

import pytest

from web.prefix import Prefixed


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("/api/v1/realtime", "/v1/realtime"),
        ("/api/v1/health", "/v1/health"),
        ("/api/v1/voices", "/v1/voices"),
        ("/api/v1/voice-donation", "/v1/voice-donation"),
        ("/v1/voices", "/v1/voices"),
        ("/api/metrics", "/api/metrics"),
        ("/api/v1/scale", "/api/v1/scale"),
        ("/api/v1/models", "/api/v1/models"),
        ("/api/api/v1/voices", "/api/api/v1/voices"),
        ("/apiv1/voices", "/apiv1/voices"),
        ("/api", "/api"),
        ("", ""),
    ],
)
def test_what_unmutes_front_end_asks_for_is_there_behind_a_prefix_and_nothing_else(
    asked: str, served: str
) -> None:
    seen: list[str] = []

    def app(environ: dict[str, Any], _: Any) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        return [b"answer"]

    assert Prefixed(app)({"PATH_INFO": asked}, None) == [b"answer"]
    assert seen == [served]
