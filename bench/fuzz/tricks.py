"""What hostile clients do to a server: each trick is one visit, of a few seconds at most."""

import asyncio
import base64
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from bench.fuzz.chatter import LARGE, TOO_LARGE, Pages, message

#: No trick takes longer.
VISIT_S = 4.0

#: Where a server must be fair to others, not fast: messages of a flood.
FLOOD = 4_000

Trick = Callable[[str, Random], Awaitable[None]]


@contextlib.asynccontextmanager
async def _line(url: str, *, unmute: bool = False, token: str = "") -> AsyncIterator[ClientConnection]:
    """A connection that reads, as politeness to the kernel, and forgets."""
    headers = {"X-Antiphon-Resume": token} if token else {}
    asked = [Subprotocol("realtime")] if unmute else None
    query = "" if unmute else "?model=x&extensions=antiphon"
    async with connect(
        url + query, subprotocols=asked, additional_headers=headers, compression=None, proxy=None, max_size=None,
        close_timeout=0.2, open_timeout=VISIT_S,
    ) as socket:  # fmt: skip
        reader = asyncio.create_task(_drain(socket))
        try:
            yield socket
        finally:
            reader.cancel()


async def _drain(socket: ClientConnection) -> None:
    with contextlib.suppress(WebSocketException):
        async for _ in socket:
            pass


async def chatter(url: str, dice: Random) -> None:
    """Events that nearly fit, one after another."""
    async with _line(url) as socket:
        for _ in range(dice.randrange(10, 400)):
            await socket.send(message(dice))
            if dice.random() < 0.2:
                await asyncio.sleep(dice.random() / 20)


async def pages(url: str, dice: Random) -> None:
    """Ogg pages with damage in them, and replies to it."""
    async with _line(url, unmute=True) as socket:
        stream = Pages(dice)
        for _ in range(dice.randrange(10, 200)):
            await socket.send(stream.message())
            await asyncio.sleep(dice.random() / 50)


async def flood(url: str, dice: Random) -> None:
    """Small messages, as many as the line takes."""
    small = dice.choice((
        "{}", '{"type":"response.cancel"}', '{"type":"input_audio_buffer.clear"}',
        '{"type":"input_audio_buffer.commit"}', '{"type":"conversation.item.retrieve","item_id":"x"}',
        '{"type":"session.update","session":{}}',
    ))  # fmt: skip
    async with _line(url) as socket:
        for _ in range(FLOOD):
            await socket.send(small)


async def audio_flood(url: str, dice: Random) -> None:
    """Minutes of sound in a moment."""
    sound = base64.b64encode(dice.randbytes(96_000)).decode()
    async with _line(url) as socket:
        for _ in range(200):
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": sound}))


async def items(url: str, dice: Random) -> None:
    """A conversation that somebody types as fast as it goes, and takes back."""
    text = "word " * dice.choice((1, 100, 3900))
    async with _line(url) as socket:
        for number in range(dice.randrange(50, 1000)):
            item = {
                "type": "message",
                "id": f"i{number}",
                "role": "user",
                "content": [{"type": "input_text", "text": text}],
            }
            await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
            if dice.random() < 0.3:
                gone = f"i{dice.randrange(number + 1)}"
                await socket.send(json.dumps({"type": "conversation.item.delete", "item_id": gone}))


async def replies(url: str, dice: Random) -> None:
    """Responses asked for and called off."""
    async with _line(url) as socket:
        for _ in range(dice.randrange(20, 200)):
            await socket.send('{"type": "response.create"}')
            await asyncio.sleep(dice.choice((0, 0, 0.02)))
            await socket.send('{"type": "response.cancel"}')


async def giants(url: str, dice: Random) -> None:
    """Messages of the largest size, and one over it."""
    tools = [
        {"type": "function", "name": f"f{n}", "description": "x" * 800, "parameters": {}} for n in range(128)
    ]
    sessions = (
        {"instructions": "x" * LARGE}, {"tools": tools}, {"instructions": "word " * 3000}, {"x": [0] * (LARGE // 4)},
    )  # fmt: skip
    async with _line(url) as socket:
        for _ in range(dice.randrange(5, 60)):
            await socket.send(json.dumps({"type": "session.update", "session": dice.choice(sessions)}))
        await socket.send("x" * TOO_LARGE)


async def binary(url: str, dice: Random) -> None:
    """What is no text."""
    async with _line(url) as socket:
        await socket.send(dice.randbytes(dice.choice((1, 1000, LARGE))))
        await socket.wait_closed()


async def resumptions(url: str, dice: Random) -> None:
    """A session that is dropped and picked up, by two at once."""
    async with connect(url + "?model=x", compression=None, proxy=None, close_timeout=0.1) as first:
        token = json.loads(await first.recv())["session"]["antiphon"]["resume_token"]
        await first.send('{"type": "response.create"}')
        first.transport.abort()
    spoilt = token[:-1] + dice.choice("xy")

    async def again(shown: str) -> None:
        with contextlib.suppress(OSError, WebSocketException, TimeoutError):
            async with _line(url, token=shown) as socket:
                await socket.send(message(dice))
                await asyncio.sleep(dice.random() / 5)
                socket.transport.abort()

    for _ in range(dice.randrange(1, 6)):
        await asyncio.gather(again(token), again(token), again(spoilt), again(dice.randbytes(12).hex()))


# --- below the level of a library


async def _raw(url: str, *headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A handshake by hand, answered or not."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    usual = (f"Host: {where.netloc}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    lines = (f"GET {where.path}?model=x HTTP/1.1", *usual, *headers, "", "")
    writer.write("\r\n".join(lines).encode("latin-1"))
    return reader, writer


def _frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    size = len(payload)
    long = struct.pack("!B", size) if size < 126 else struct.pack("!BH", 126, size)
    first = (0x80 if fin else 0) | opcode
    head = bytes([first, long[0] | (0x80 if mask else 0)]) + long[1:]
    return head + (bytes(4) if mask else b"") + payload


async def _finish(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()


async def frames(url: str, dice: Random) -> None:
    """Frames that break the rules, in pieces of any size."""
    event = b'{"type": "input_audio_buffer.clear"}'
    ways = (
        b"".join(_frame(1 if n == 0 else 0, event[n : n + 1], fin=n == len(event) - 1) for n in range(len(event))),
        _frame(1, event[:5], fin=False) + _frame(9, b"ping") + _frame(0, event[5:]),
        _frame(1, event, mask=False), _frame(1, b"\xff\xfe"), _frame(8, b"\x03"),
        _frame(8, b"\x03\xe8") + _frame(1, event) * 50,
        _frame(9, b"x" * 125) * 500, _frame(0, event), _frame(1, event, fin=False) * 2, _frame(11, b""),
        struct.pack("!BBQ", 0x81, 0xFF, 2**62) + bytes(4), dice.randbytes(200),
        _frame(1, b"", fin=False) + _frame(0, b"", fin=False) * 3000,
    )  # fmt: skip
    _, writer = await _raw(url)
    try:
        await asyncio.sleep(0.05)
        data = dice.choice(ways)
        size = dice.choice((1, 7, 4096))
        for at in range(0, min(len(data), 600 * size), size):
            writer.write(data[at : at + size])
            await writer.drain()
        await asyncio.sleep(dice.random() / 4)
    finally:
        await _finish(writer)


async def half_closed(url: str, dice: Random) -> None:
    """A client that says no more, and stays; or says more than it reads."""
    reader, writer = await _raw(url)
    try:
        await reader.readuntil(b"\r\n\r\n")
        if dice.random() < 0.5:
            writer.write(_frame(1, b'{"type": "response.create"}'))
            writer.write_eof()
            await asyncio.sleep(dice.random() * VISIT_S / 2)
            return
        item = json.dumps(
            {
                "type": "message",
                "role": "user",
                "id": "i",
                "content": [{"type": "input_text", "text": "x" * 9000}],
            }
        )
        writer.write(_frame(1, f'{{"type": "conversation.item.create", "item": {item}}}'.encode()))
        for _ in range(1000):  # each is answered with nine kilobytes that nobody reads
            writer.write(_frame(1, b'{"type": "conversation.item.retrieve", "item_id": "i"}'))
            await writer.drain()
    finally:
        await _finish(writer)


async def handshakes(url: str, dice: Random) -> None:
    """Headers that nobody should send."""
    odd = (
        "Sec-WebSocket-Protocol: " + ",".join("p" * 20 for _ in range(200)), "Sec-WebSocket-Protocol: antiphon-resume.",
        "Sec-WebSocket-Protocol: openai-insecure-api-key." + "k" * 4000, "X-Antiphon-Resume: " + "a." * 3000,
        "X-Antiphon-Resume: \xff\xfe.\x80", "Authorization: Bearer \xff", "Origin: http://[::1", "Origin: null",
        "X-Forwarded-For: " + "1," * 2000, "Sec-WebSocket-Key: x", "Content-Length: " + "9" * 5000,
        "Transfer-Encoding: chunked",
    )  # fmt: skip
    for _ in range(dice.randrange(1, 8)):
        reader, writer = await _raw(url, *dice.sample(odd, dice.randrange(1, 3)))
        try:
            await asyncio.wait_for(reader.read(200), 1.0)
        except TimeoutError:
            pass
        finally:
            await _finish(writer)


async def requests(url: str, dice: Random) -> None:
    """HTTP bodies that are none, and are cut."""
    where = urlsplit(url)
    for _ in range(dice.randrange(1, 10)):
        path = dice.choice((
            "/v1/realtime/client_secrets", "/v1/voices", "/v1/voice-donation", "/v1/voices/%00%ff", "/v1/models/%2e%2e",
            "/v1/sessions/sess_x/transcript?format=%00", "/v1/health",
        ))  # fmt: skip
        sent = message(dice)
        body = json.dumps(
            {"session": {"tools": [{"type": "function", "name": "f", "parameters": {"a": 10**40}}]}}
        )
        data = dice.choice(
            (sent.encode() if isinstance(sent, str) else sent, body.encode(), dice.randbytes(500))
        )
        kind = dice.choice(
            ("application/json", "multipart/form-data; boundary=x", "multipart/form-data", "\xff")
        )
        length = dice.choice((str(len(data)), str(len(data) * 2), "-1", "x", "9" * 5000, "9" * 18))
        method = dice.choice(("POST", "POST", "GET", "DELETE", "PUT", "X"))
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            head = f"{method} {path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: {kind}\r\n"
            head += f"Content-Length: {length}\r\n"
            writer.write(
                head.encode("latin-1") + b"Authorization: Bearer a.b\r\nConnection: close\r\n\r\n" + data
            )
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 1.0)
        except TimeoutError:
            pass
        finally:
            await _finish(writer)


TRICKS: tuple[Trick, ...] = (
    chatter, chatter, pages, flood, audio_flood, items, replies, giants, binary, resumptions, frames, half_closed,
    handshakes, requests,
)  # fmt: skip
