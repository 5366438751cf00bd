"""The API keys in force: those of the settings and of the file, which is read again when it changed."""

import logging
import os
import time
from pathlib import Path

from config import api_keys
from config.api_keys import ApiKey
from config.auth import AuthSettings
from config.errors import ConfigError

log = logging.getLogger(__name__)

#: Where the settings' own keys are said to stand, in messages.
SETTING = "auth.keys"

#: A file system's clock may be so coarse: two changes within it can look like one, so the second is looked for later.
COARSE_NS = 1_000_000_000

#: Of a file's mode: others than its owner may write.
WRITABLE_BY_OTHERS = 0o022

#: What tells a file from what it was; the last: it is so young that it may change without looking different.
Version = tuple[int, int, int, bool]


class Keyring:
    """Asked at each request: a look at the file's date costs some microseconds."""

    def __init__(self, rules: AuthSettings) -> None:
        self._text, self._file = rules.keys, rules.keys_file
        self._keys: tuple[ApiKey, ...] | None = None
        self._read: Version | None = None
        """The file that was read last, or could not be."""

    def check(self) -> None:
        """Raises ConfigError for what the operator must mend before anybody is let in."""
        self._load()

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """None at all: the server is open to its own machine. A file that is gone or has a mistake changes nothing.

        Raises ConfigError while there never was a good one.
        """
        if self._keys is None:
            self._load()
        elif self._file is not None and (now := _version(self._file)) != self._read:
            self._read = now
            try:
                self._load()
            except ConfigError as error:
                log.error("the API keys stay as they were: %s", error)
        assert self._keys is not None
        return self._keys

    def _load(self) -> None:
        text, version = "", None
        if self._file is not None:
            version = _version(self._file)
            text = self._text_of(self._file)
        found = api_keys.parse(self._text, SETTING) + api_keys.parse(text, str(self._file))
        if len({key.name for key in found}) < len(found):
            raise ConfigError(f"a key of {SETTING} has the name of one of {self._file}")
        if self._keys != found:
            log.info("%d API keys are in force", len(found))
            if self._keys and not found:
                log.warning("the last API key was taken back: who may come in without one comes in now")
        self._keys, self._read = found, version

    def _text_of(self, file: Path) -> str:
        """Raises ConfigError. Who writes a file of keys takes nothing away before the rest stands (`cli/keys.py`)."""
        try:
            with file.open("rb") as held:
                if self._keys is None and os.fstat(held.fileno()).st_mode & WRITABLE_BY_OTHERS:
                    log.warning("others than its owner may write %s, and let themselves in", file)
                return held.read().decode()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(f"auth.keys_file {file} cannot be read: {why}") from None


def _version(file: Path) -> Version | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, time.time_ns() - found.st_mtime_ns < COARSE_NS
