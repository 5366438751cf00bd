"""How long a queue has waited, where the clocks of the two Redis servers and of the operator's machine differ."""

import time

import pytest

from cli.fleet_picture import fleet_time
from tasks.redis_check import Facts


@pytest.mark.parametrize(
    ("facts", "ahead_s"),
    [
        ({"state": Facts(ahead_s=300), "media": Facts(ahead_s=-60)}, -60),
        ({"state": Facts(ahead_s=300)}, 300),
    ],
    ids=["by media's clock, as who asked reckoned", "by state's, where media is not known"],
)
def test_what_waits_is_as_old_as_who_asked_would_say(facts: dict[str, Facts], ahead_s: float) -> None:
    assert fleet_time(facts) == pytest.approx(time.time() - ahead_s, abs=1)
