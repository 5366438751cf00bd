"""A Firefox that is driven by WebDriver BiDi, the W3C's protocol that it speaks itself: what the tests need of it.

Playwright 1.65 speaks that to Firefox too, but no page opens in Debian's ESR 153, which lacks a command
(emulation.setMediaFeaturesOverride); geckodriver, which others need, comes from none of our registries.
"""

import json
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

#: Firefox is up after 3 s; this is for a machine under load.
START_S = 60

#: What is waited for comes within some seconds.
PATIENCE_MS = 40_000

#: The longest that a command may take, waiting for something in the page included.
ANSWER_S = 45

#: So it says where it listens.
LISTENS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")

#: What a key is called on the wire, by W3C WebDriver.
ENTER = "\ue007"

#: A microphone that hears a tone, no question about it, sound without a click, nobody asked at the start.
PREFERENCES: dict[str, Any] = {
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "media.autoplay.default": 0,
    "intl.accept_languages": "en-GB",
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
}


class BidiError(Exception):
    """The browser's words about a command that failed."""


class NoAnswer(TimeoutError):
    """The browser said nothing in time."""


class Browser:
    """A connection to it: commands in, answers and events out."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.numbers = count(1)
        self.answers: dict[int, Queue[dict[str, Any]]] = {}
        self.complaints: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.capabilities = self.ask("session.new", capabilities={})["capabilities"]
        self.ask("session.subscribe", events=["log.entryAdded"])

    def ask(self, method: str, **params: Any) -> Any:
        """Sends a command and waits for what comes of it."""
        number = next(self.numbers)
        answer = self.answers[number] = Queue()
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        try:
            found = answer.get(timeout=ANSWER_S)
        except Empty:
            raise NoAnswer(f"no answer to {method}") from None
        finally:
            del self.answers[number]
        if found["type"] == "error":
            raise BidiError(f"{method}: {found['error']}: {found['message']}")
        return found["result"]

    def _read(self) -> None:
        with suppress(ConnectionClosed):
            for message in self.socket:
                told = json.loads(message)
                if told["type"] == "event":
                    self._note(told["params"])
                elif told["id"] in self.answers:
                    self.answers[told["id"]].put(told)

    def _note(self, entry: dict[str, Any]) -> None:
        if entry.get("level") in ("warn", "error"):
            self.complaints.append(f"{entry['level']}: {entry['text']} {entry.get('stackTrace', '')}")


class Page:
    """A tab, with the few methods of playwright's that the tests of more than one browser call."""

    def __init__(self, browser: Browser, before: str = "") -> None:
        self.browser = browser
        user = browser.ask("browser.createUserContext")["userContext"]
        self.context = browser.ask("browsingContext.create", type="tab", userContext=user)["context"]
        if before:
            script = f"() => {{ if (location.protocol.startsWith('http')) {{ {before} }} }}"
            browser.ask("script.addPreloadScript", functionDeclaration=script, contexts=[self.context])

    def goto(self, url: str) -> None:
        self.browser.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def evaluate(self, function: str) -> Any:
        """What a function without arguments returns in the page, as JSON has it."""
        text = f"async () => JSON.stringify(await ({function})()) ?? 'null'"
        return json.loads(self._call(text)["value"])

    def wait_for_function(self, function: str, timeout: float = PATIENCE_MS) -> None:
        """Until it returns something true, for so many ms."""
        wait = "await new Promise((go) => setTimeout(go, 20));"
        text = (
            f"async () => {{ const end = performance.now() + {timeout};"
            f" while (performance.now() < end) {{ if (await ({function})()) return true; {wait} }} return false; }}"
        )
        if not self._call(text)["value"]:
            raise TimeoutError(function)

    def click(self, selector: str) -> None:
        """With a mouse, as people do: a click of a script is no gesture of a user."""
        element = self._call(
            f"() => {{ const found = document.querySelector('{selector}'); found.scrollIntoView(); return found; }}"
        )
        where = {"x": 0, "y": 0, "origin": {"type": "element", "element": {"sharedId": element["sharedId"]}}}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self._act({"type": "pointer", "id": "mouse", "actions": [{"type": "pointerMove", **where}, *press]})

    def type(self, text: str) -> None:
        """Keys, to what has the focus."""
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keys", "actions": keys})

    def _act(self, source: dict[str, Any]) -> None:
        self.browser.ask("input.performActions", context=self.context, actions=[source])

    def _call(self, function: str) -> Any:
        done = self.browser.ask(
            "script.callFunction",
            functionDeclaration=function,
            target={"context": self.context},
            awaitPromise=True,
        )
        if done["type"] == "exception":
            raise BidiError(done["exceptionDetails"]["text"])
        return done["result"]


@contextmanager
def firefox(program: str, env: dict[str, str]) -> Iterator[Browser]:
    """Runs one, without a window and with a profile of its own; it is gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()
        ]
        (Path(home) / "user.js").write_text("\n".join(lines))
        said = Path(home) / "said"
        arguments = [
            "--headless",
            "--no-remote",
            "--profile",
            home,
            "--remote-debugging-port=0",
            "about:blank",
        ]
        with (
            said.open("wb") as stderr,
            subprocess.Popen(
                [program, *arguments], env={**env, "HOME": home}, stdout=subprocess.DEVNULL, stderr=stderr
            ) as process,
        ):
            try:
                address = f"{listening(process, said)}/session"
                with connect(address, max_size=None, open_timeout=START_S, ping_interval=None) as socket:
                    yield Browser(socket)
            finally:
                process.kill()


def listening(process: subprocess.Popen[bytes], said: Path) -> str:
    """Where it listens, as soon as it says so."""
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        if found := LISTENS.search(said.read_text(errors="replace")):
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"Firefox did not start: {said.read_text(errors='replace')[-500:]}")
