"""Plain connections to Redis for what runs all the time: commands packed and sent at once, answers parsed in C.

redis-py makes the connections (address, password, database, deadlines). What it does around every command and answer
costs several times what packing and parsing do, so it is left out here. Knows no command and no key; an answer that is
an error stands in its place as a ResponseError. Works under gevent and threads alike.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import hiredis
import redis

#: What one read takes from the kernel.
READ_BYTES = 65_536

#: Connections kept for later. Making one takes as long as a hundred commands: no burst of sessions shall do it anew.
IDLE = 256

_pack: Any = hiredis.pack_command  # its stub says that a command is one word

Command = tuple[bytes | str | int | float, ...]


class Wire:
    """One connection, made when it is needed, for one user at a time."""

    def __init__(self, client: redis.Redis) -> None:
        self._pool: Any = client.connection_pool
        self._connection: Any = None
        self._socket: Any = None
        self._reader = _reader()
        self.made = 0
        """How often the connection was made."""

    def ask(self, commands: Sequence[Command], *, again: bool = True) -> list[Any]:
        """The answers to all commands, in one round trip. again: on a broken connection it is tried once more.

        Raises RedisError when there are none.
        """
        try:
            self.send(commands)
            return self.answers(len(commands))
        except (redis.ConnectionError, redis.TimeoutError):
            if not again:
                raise
        return self.ask(commands, again=False)

    def send(self, commands: Iterable[Command]) -> None:
        """Sends commands and returns; their answers must be taken before more is asked. Raises RedisError."""
        if self._socket is None:
            self._connect()
        with self._breaking():
            self._socket.sendall(b"".join([_pack(command) for command in commands]))

    def answers(self, count: int) -> list[Any]:
        """So many answers, in order. Raises RedisError when they do not come."""
        found: list[Any] = []
        with self._breaking():
            while len(found) < count:
                if (answer := self._reader.gets()) is False:
                    self._feed()
                else:
                    found.append(answer)
        return found

    def arrivals(self, timeout_s: float) -> list[Any]:
        """What the server says by itself: all there is, after waiting at most `timeout_s` for the first."""
        found: list[Any] = []
        if self._socket is None:
            raise redis.ConnectionError("the connection is broken")
        with self._breaking():
            self._socket.settimeout(timeout_s)
            try:
                while not found:
                    found = self._parsed()
                    if not found:
                        self._feed()
            except TimeoutError:
                pass
        return found

    @property
    def open(self) -> bool:
        """It stands; a broken one does not."""
        return self._socket is not None

    def close(self) -> None:
        """It is made anew when it is needed again."""
        connection, self._connection, self._socket = self._connection, None, None
        self._reader = _reader()
        if connection is not None:
            connection.disconnect()

    def _connect(self) -> None:
        self._connection = self._pool.connection_class(**self._pool.connection_kwargs)
        self._connection.connect()
        self._socket = self._connection._sock  # there is no other way to it
        self.made += 1

    def _parsed(self) -> list[Any]:
        found = []
        while (answer := self._reader.gets()) is not False:
            found.append(answer)
        return found

    def _feed(self) -> None:
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._reader.feed(data)

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        """Whatever goes wrong in the middle of a talk, its rest must not be taken for that of the next."""
        try:
            yield
        except TimeoutError as error:
            self.close()
            raise redis.TimeoutError(str(error)) from error
        except (OSError, hiredis.ProtocolError) as error:
            self.close()
            raise redis.ConnectionError(str(error)) from error
        except BaseException:
            self.close()
            raise


def _reader() -> hiredis.Reader:
    return hiredis.Reader(replyError=redis.ResponseError)


class Wires:
    """As many connections to one server as there are users at once."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._idle: list[Wire] = []

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """As `Wire.ask`."""
        wire = self.take()
        answers = wire.ask(commands)
        self.give_back(wire)
        return answers

    def take(self) -> Wire:
        """A connection that nobody else uses."""
        try:
            return self._idle.pop()
        except IndexError:
            return Wire(self._client)

    def give_back(self, wire: Wire) -> None:
        """Nothing is to come on it any more."""
        if len(self._idle) < IDLE:
            self._idle.append(wire)
        else:
            wire.close()
