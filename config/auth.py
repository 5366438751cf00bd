"""The settings of who is let in: keys, open mode, origins, limits."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from config.environment import by_commas

#: Networks as the environment gives them, by commas.
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(by_commas)]

#: The same of origins.
Origins = Annotated[tuple[str, ...], BeforeValidator(by_commas)]


class AuthSettings(BaseModel, frozen=True):
    """Who is let in. [security.md](security.md) has the whole of it."""

    keys_file: Path | None = None
    """API keys, hashed, one NAME:sha256:DIGEST a line, some with limits of their own; `antiphon keys` writes it. Looked
    at before each use: a key that was taken out is refused at once. `antiphon up` has one in its data directory."""
    keys: str = ""
    """More of them, by commas, for deployments that are made of variables. They are hashes, from which nobody gets a
    key."""
    open: bool = False
    """With no keys at all, clients of other machines are let in as well. Else only those of this machine are: who can
    reach the server could use it, and some models cost money by the word."""
    origins: Origins = ()
    """Pages that may talk to the server besides its own: https://app.example.org, or * for all. Other programs say no
    origin, and are not asked for one."""
    proxies: Networks = ()
    """Networks of proxies whose X-Forwarded-For is believed: 10.0.0.0/8. Without, all who come through one share its
    address, and its limits."""
    key_sessions: int = Field(1000, ge=0)
    """Conversations at once of a key without limits of its own; 0: any number. A client gone wild is stopped, and a
    large service is not."""
    key_starts_per_minute: int = Field(1200, ge=0)
    """Conversations and ephemeral keys that such a key may begin in a minute; 0: any number."""
    key_requests_per_minute: int = Field(6000, ge=0)
    """Other requests of one key in a minute: voices, models, uploads; 0: any number."""
    address_sessions: int = Field(100, ge=0)
    """Conversations at once of one address (of IPv6, a network of 64 bits); 0: any number. An office behind one address
    has many people. This machine's own address has no limit: it is where load tests run."""
    address_starts_per_minute: int = Field(120, ge=0)
    """Conversations that one address may begin in a minute, and as many keys and tokens that are wrong, after which
    nobody there is let in with a right one; 0: any number."""
    address_requests_per_minute: int = Field(600, ge=0)
    """Other requests of one address in a minute, transcripts among them; 0: any number. None costs much, and a page
    asks for two or three."""
    ephemeral_keys: int = Field(1000, ge=1)
    """Ephemeral keys of one key that live at once."""
    ephemeral_bytes: int = Field(16 << 20, ge=1 << 18)
    """What the sessions that they carry may take of the state server's memory together. Each may have 128 KiB. Without
    a bound one key would keep all others out: no session begins while that memory is nearly full."""
