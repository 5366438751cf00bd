"""Addresses of servers: what a client adds to them."""

from urllib.parse import urlsplit


def with_extensions(url: str) -> str:
    """Asks for our extensions: raw Opus is one."""
    parts = urlsplit(url)
    return parts._replace(query="&".join(filter(None, (parts.query, "extensions=antiphon")))).geturl()
