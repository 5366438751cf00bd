"""A web process has one runtime, however many requests come first."""

import os
import subprocess
import sys

from tests.house import ROOT
from tests.redis_server import Server

#: Under gevent's patches, as gunicorn runs it: what talks to Redis lets others run.
FIRST_REQUESTS = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent
from web.runtime import runtime
asking = [gevent.spawn(runtime) for _ in range(8)]
gevent.joinall(asking, timeout=20)
print(len({id(one.value) for one in asking if one.value is not None}), sum(one.value is None for one in asking))
"""


def test_requests_that_come_together_get_the_same_runtime(server: Server) -> None:
    env = {
        **os.environ,
        "ANTIPHON_PROFILE": "null",
        "ANTIPHON_REDIS_URL": server.url(0),
        "ANTIPHON_MEDIA_URL": server.url(1),
    }
    ran = subprocess.run(
        [sys.executable, "-c", FIRST_REQUESTS],
        check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout.split() == ["1", "0"], ran.stdout + ran.stderr
