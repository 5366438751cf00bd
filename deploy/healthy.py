"""`deploy/entrypoint python deploy/healthy.py stt|llm|tts|voices`: is this container's worker ready? 0: yes or unknown.

A worker advertises itself only while its loop steps, and not before its engine is warm, so its heartbeat is the
answer. Redis out of reach is no fault of the worker: a restart would only lose what it holds.
"""

import socket
import sys

from config.settings import load
from tasks.beats import workers
from tasks.streams import RedisError, connect


def ready(queue: str) -> bool:
    """Whether a worker of this host has a fresh heartbeat."""
    settings = load()
    try:
        said = workers(connect(settings.redis_url), queue)
    except RedisError:
        return True
    return any(name.startswith(f"{socket.gethostname()}-") for name in said)


if __name__ == "__main__":
    sys.exit(0 if ready(sys.argv[1]) else 1)
