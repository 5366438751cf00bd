"""Results of all sessions over one connection, each to whom it belongs; when it broke, each looks what it missed."""

import json
import subprocess
import sys

from tests.house import ROOT
from tests.redis_server import Server

#: In a process of its own, for gevent must be there before any socket.
PROGRAM = """
from gevent import monkey
monkey.patch_all()
import json, sys, gevent
from config import redis_keys as keys
from config.messages import Claimed, Result, encode
from config.versions import VERSION
from tasks.streams import Channels, connect
from web.fanout import Fanout

media = connect(sys.argv[1])
fanout = Fanout(lambda: Channels(media))
heard = []
class Taker:
    def __init__(self, sid):
        self.sid = sid

    def take(self, result):
        heard.append([self.sid, result.seq])

    def may_have_missed(self):
        heard.append([self.sid, "look"])

takers = {sid: Taker(sid) for sid in ("fan-a", "fan-b")}

def say(sid, seq):
    return media.publish(keys.results(sid), encode(Result(VERSION, "stt", 1, 0, seq, 0, Claimed("w"))))

def until(true):
    with gevent.Timeout(5):
        while not true():
            gevent.sleep(0.005)

for sid, taker in takers.items():
    fanout.add(sid, taker)
until(lambda: say("fan-a", 1))
until(lambda: say("fan-b", 2))
media.publish(keys.results("fan-a"), b"nothing that can be read")
say("fan-a", 3)
until(lambda: ["fan-a", 3] in heard)
stranger = encode(Result(VERSION + 2, "stt", 1, 0, 3, 0, Claimed("w")))
for _ in range(5):
    media.publish(keys.results("fan-a"), stranger)
media.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
until(lambda: ["fan-a", "look"] in heard and ["fan-b", "look"] in heard)
until(lambda: say("fan-a", 4))
until(lambda: say("fan-b", 5))
fanout.remove("fan-a", takers["fan-b"])
until(lambda: say("fan-a", 6))
until(lambda: ["fan-a", 6] in heard)
fanout.remove("fan-a", takers["fan-a"])
until(lambda: not say("fan-a", 7))
say("fan-b", 8)
until(lambda: ["fan-b", 8] in heard)
print(json.dumps(heard))
"""


def test_each_session_hears_its_own_results_in_order_also_after_the_connection_broke(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, server.url(0)],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    assert [seq for sid, seq in heard if sid == "fan-a"] == [1, 3, "look", 4, 6]
    assert [seq for sid, seq in heard if sid == "fan-b"] == [2, "look", 5, 8], (
        "each is told once to look again"
    )
    assert done.stderr.count("results are dropped: a worker speaks version") == 1, done.stderr
    assert done.stderr.count("a result could not be delivered") == 1, "only what is no result at all"
    assert done.stderr.count("waits for Redis") == done.stderr.count("results: goes on") == 1, done.stderr
