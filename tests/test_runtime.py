"""The runtime of a web process."""

import os
import subprocess
import sys

import pytest

from tests.house import ROOT
from tests.redis_server import Server

#: First requests of a new process, all at once; as in a worker of gunicorn's, waiting lets others run.
TOGETHER = """
from gevent import monkey
monkey.patch_all()
import gevent
from web.runtime import runtime
first = [gevent.spawn(runtime) for _ in range(5)]
gevent.joinall(first, raise_error=True)
print(len({id(one.value) for one in first}))
"""


@pytest.mark.server
def test_first_requests_that_come_together_share_one_runtime(server: Server) -> None:
    """Else sessions of one process would be watched, counted and drained apart."""
    urls = {
        "ANTIPHON_REDIS_URL": server.url(8),
        "ANTIPHON_MEDIA_URL": server.url(8),
        "ANTIPHON_PROFILE": "null",
    }
    ran = subprocess.run(
        [sys.executable, "-c", TOGETHER], check=True, cwd=ROOT, env={**os.environ, **urls}, stdout=subprocess.PIPE,
        timeout=30,
    )  # fmt: skip
    assert ran.stdout.strip() == b"1"
