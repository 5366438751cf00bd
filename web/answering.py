"""Structs of `web.answers` as responses."""

import msgspec
from flask import Response


def answered(told: object, status: int = 200) -> Response:
    """As JSON."""
    return Response(msgspec.json.encode(told), status, content_type="application/json")
