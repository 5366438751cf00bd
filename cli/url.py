"""A server's address as a client asks it: what stands in its query."""

from urllib.parse import parse_qsl, urlsplit


def with_query(url: str, name: str, value: str) -> str:
    """The same, asking for this too, unless it asks for something of that name already."""
    parts = urlsplit(url)
    if any(known == name for known, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return url
    return parts._replace(query="&".join(filter(None, (parts.query, f"{name}={value}")))).geturl()


def with_extensions(url: str) -> str:
    """Asks for our extensions: to be told of the place in the line is one, raw Opus another."""
    return with_query(url, "extensions", "antiphon")
