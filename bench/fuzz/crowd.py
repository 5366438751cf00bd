"""A process of hostile clients: `python -m bench.fuzz.crowd URL COUNT SEED SECONDS [TRICK]`. Ends by itself; tells how
often each trick was done."""

import asyncio
import json
import sys
import time
from collections import Counter
from random import Random

from websockets.exceptions import WebSocketException

from bench.fuzz.tricks import TRICKS, VISIT_S, Trick


async def _hostile(
    url: str, dice: Random, until_s: float, tricks: tuple[Trick, ...], done: Counter[str]
) -> None:
    """One after another; what the server does to it is nothing to it."""
    while time.monotonic() < until_s:
        trick = dice.choice(tricks)
        name = getattr(trick, "__name__", "?")
        try:
            async with asyncio.timeout(VISIT_S):
                await trick(url, dice)
            done[name] += 1
        except TimeoutError:
            done[f"{name}, not to its end"] += 1
        except (OSError, WebSocketException, EOFError, ValueError, KeyError):
            done[f"{name}, shown out"] += 1
        await asyncio.sleep(dice.random() / 10)


async def _all(url: str, count: int, seed: int, seconds: float, only: str) -> Counter[str]:
    done: Counter[str] = Counter()
    tricks = tuple(trick for trick in TRICKS if only in ("", getattr(trick, "__name__", "")))
    until_s = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(_hostile(url, Random(f"{seed}/{number}"), until_s, tricks, done))
    return done


def main() -> None:
    """What is done goes to standard output, as JSON."""
    url, count, seed, seconds, *only = sys.argv[1:]
    done = asyncio.run(_all(url, int(count), int(seed), float(seconds), only[0] if only else ""))
    print(json.dumps(done))


if __name__ == "__main__":
    main()
