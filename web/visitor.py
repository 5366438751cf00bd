"""Who knocks: the key they bring, the address they come from, the page they were sent by. Pure.

Nothing here believes what a client says of itself, but for what a proxy of ours is believed to have written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from config.auth import Networks

#: Subprotocol that carries a key where a browser can set no header; the name is OpenAI's.
KEY_PROTOCOL = "openai-insecure-api-key."

#: The part of an IPv6 address that one customer of a provider has to himself.
IPV6_NETWORK_BITS = 64

#: Names by which a machine calls itself. A page whose name was made to point here (DNS rebinding) has another.
LOCAL_NAMES = ("localhost",)

#: Ends of names that nobody can buy: who makes one point somewhere is on this network already.
PRIVATE_ENDS = (".localhost", ".local", ".internal", ".lan", ".home.arpa")

#: Ports that browsers leave out of an origin.
USUAL_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def has_bearer(authorization: str) -> bool:
    """A client of the OpenAI API sent it. A password that a browser keeps for a proxy is none of ours."""
    return authorization.partition(" ")[0].lower() == "bearer"


def key_of(authorization: str, subprotocols: Sequence[str] = ()) -> str:
    """The key that came with a request, by its header or, if that has none (but a password for a proxy, say), by its
    subprotocols; empty: none."""
    if has_bearer(authorization):
        return authorization.partition(" ")[2].strip()
    return next((p.removeprefix(KEY_PROTOCOL) for p in subprotocols if p.startswith(KEY_PROTOCOL)), "")


@dataclass(frozen=True)
class Visitor:
    """What a request's connection and headers say of where it comes from."""

    peer: str
    """The address at the other end of the connection; empty for a socket of this machine's files."""
    forwarded: str = ""
    """X-Forwarded-For: each proxy adds the address it was called from."""
    by_proxy: bool = False
    """Some header says that a proxy stands between."""
    host: str = ""
    """By which name and port we were called."""
    origin: str = ""

    def address(self, proxies: Networks) -> str:
        """The client's address: the last that no proxy of ours has."""
        hops = [hop.strip() for hop in self.forwarded.split(",") if hop.strip()]
        address = self.peer
        while hops and _within(address, proxies):
            address = hops.pop()
        found = _parsed(address)
        return str(found) if found else self.peer

    def is_local(self) -> bool:
        """It is on this machine, and calls it so. What came through a proxy may be from anywhere."""
        return not self.by_proxy and is_loopback(self.peer) and _is_local_name(_name_in(f"//{self.host}"))

    def may_come_from(self, allowed: Sequence[str]) -> bool:
        """No page sent it, or one of ours, or one that is allowed. On this machine: or another page of this machine."""
        if not self.origin or "*" in allowed or (self.is_local() and _is_local_name(_name_in(self.origin))):
            return True
        return self.is_same_origin() or self.origin.lower() in _origins(allowed)

    def is_stray(self, allowed: Sequence[str]) -> bool:
        """A page of our own origin, by a name that anybody could have made point here (DNS rebinding)."""
        if not self.origin or not self.is_same_origin() or {"*", self.origin.lower()} & _origins(allowed):
            return False
        name = _name_in(self.origin)
        return "." in name and not name.endswith(PRIVATE_ENDS) and _parsed(name) is None

    def is_same_origin(self) -> bool:
        """By name and port. Not by scheme, which a proxy that ends TLS changes for us and not for the page."""
        try:
            page, ours = urlsplit(self.origin), urlsplit(f"//{self.host}")
            usual = USUAL_PORTS.get(page.scheme)
            return (
                usual is not None
                and bool(page.hostname)
                and (page.hostname, page.port or usual) == (ours.hostname, ours.port or usual)
            )
        except ValueError:
            return False


def _origins(allowed: Sequence[str]) -> set[str]:
    return {one.lower().rstrip("/") for one in allowed}


def is_loopback(address: str) -> bool:
    """Whether it is this machine's own."""
    found = _parsed(address)
    return found is not None and found.is_loopback


def who(address: str) -> str:
    """The name under which an address is counted."""
    found = _parsed(address)
    if isinstance(found, IPv6Address):
        return f"address/{IPv6Network((found, IPV6_NETWORK_BITS), strict=False)}"
    return f"address/{found or 'unknown'}"


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """Without the port that some proxies add, or the zone of a link."""
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        address = address.partition(":")[0]
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _within(address: str, networks: Networks) -> bool:
    found = _parsed(address)
    return found is not None and any(found in network for network in networks)


def _name_in(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_local_name(name: str) -> bool:
    return name in LOCAL_NAMES or name.endswith(".localhost") or is_loopback(name)
