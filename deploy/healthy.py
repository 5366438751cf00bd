"""`python deploy/healthy.py stt|llm|tts`: is the worker of this container ready? Exit 0: yes, or Redis does not say.

A worker advertises itself only while its loop steps, and not before its engine is warm, so its heartbeat is the
answer. Redis out of reach is no fault of the worker: a restart would only lose what it holds.
"""

import socket
import sys

from config.settings import load
from tasks.streams import RedisError, connect, workers


def ready(stage: str) -> bool:
    """Whether a worker of this host has a fresh heartbeat."""
    settings = load()
    try:
        said = workers(connect(settings.redis_url), stage)
    except RedisError:
        return True
    return any(name.startswith(f"{socket.gethostname()}-") for name in said)


if __name__ == "__main__":
    sys.exit(0 if ready(sys.argv[1]) else 1)
