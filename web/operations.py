"""Every route of the app, as the OpenAPI document says it. A new route is a new entry; a test compares."""

from functools import cache
from typing import Any

import msgspec

from config import errors
from web import openapi
from web.answers import (
    Advice,
    ClientSecret,
    Health,
    Minutes,
    Model,
    ModelList,
    Voice,
    VoiceDeleted,
    VoiceMade,
)
from web.client_secrets import ClientSecretAsked
from web.donations import Submission, Verification
from web.openapi import Body, Json, Operation, gives_json

#: Something that is no JSON.
TEXT = {"type": "string"}

#: A handshake: what travels then is in docs/protocol.md, for OpenAPI has no words for it.
SWITCHES = "The WebSocket stands"

#: Whoever asks is answered.
NOBODY: tuple[Json, ...] = ()

#: The session's own token, in either of two headers.
OWNER: tuple[Json, ...] = ({"resumeToken": []}, {"resumeHeader": []})


def path(name: str, means: str, example: str) -> Json:
    """A parameter that stands in the address."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": means,
        "schema": {**TEXT, "examples": [example]},
    }


def query(name: str, means: str, *allowed: str) -> Json:
    """One after the question mark."""
    schema = {**TEXT, "enum": list(allowed)} if allowed else TEXT
    return {"name": name, "in": "query", "description": means, "schema": schema}


def multipart(name: str, means: str, **parts: Any) -> Body:
    """A form with one file, and fields that are JSON, each a struct."""
    file = {**TEXT, "contentMediaType": "application/octet-stream", "minLength": 1, "description": means}
    schema = {"type": "object", "required": [name], "properties": {name: file}}
    encoding = {part: {"contentType": "application/json"} for part in parts}
    return Body("multipart/form-data", schema=schema, parts=parts, encoding=encoding)


OPERATIONS = (
    Operation(
        "GET", "/v1/realtime", "converse", "A conversation, over a WebSocket: docs/protocol.md",
        {101: (SWITCHES, ()), 426: ("Another version of WebSockets than 13 was asked for", openapi.ERROR)},
        refuses=(errors.ClientError, errors.SessionUnknown, errors.TooMany),
        tag="conversation",
        parameters=(
            query("model", "Any name: there is one model"),
            query("dialect", "Decided by the handshake, if it is not given", "ga", "unmute"),
            query("extensions", "Events beyond the dialect that are wanted, separated by commas: antiphon"),
        ),
    ),
    Operation(
        "POST", "/v1/realtime/client_secrets", "createClientSecret",
        "An ephemeral key for a browser, with the session that it carries",
        {200: gives_json(ClientSecret, "It can be used until it expires")},
        refuses=(errors.ClientError, errors.UploadSlow, errors.TooMany, errors.RedisAway),
        tag="conversation",
        takes=(Body("application/json", ClientSecretAsked, required=False),),
    ),
    Operation(
        "GET", "/v1/sessions/{session_id}/transcript", "getTranscript",
        "Who said what in a session and when, for whoever has its resume token",
        {200: ("What was said, as far as it was heard", (
            Body("application/json", Minutes), Body("application/x-subrip", schema=TEXT),
            Body("text/plain", schema=TEXT),
        ))},
        refuses=(errors.ClientError, errors.SessionUnknown, errors.TooMany, errors.RedisAway),
        tag="conversation",
        parameters=(
            path("session_id", "`session.id`, with or without `sess_`", "sess_4f7c1d0e9b3a4c5d8e6f7a8b9c0d1e2f"),
            query("format", "Wins over `Accept`", "json", "srt", "text"),
        ),
        security=OWNER,
    ),
    Operation(
        "GET", "/v1/voices", "listVoices", "The characters, those that can be talked to first",
        {200: gives_json(list[Voice], "In Unmute's shape")}, refuses=(errors.RedisAway,), tag="voices",
    ),
    Operation(
        "POST", "/v1/voices", "cloneVoice", "Makes a voice of a recording of 3 to 30 s",
        {200: gives_json(VoiceMade, "It lives for an hour after it was made or last spoke")},
        refuses=(
            errors.ClientError, errors.BadVoiceSample, errors.UploadSlow, errors.UploadLengthMissing,
            errors.UploadTooBig, errors.UploadUnreadable, errors.CloningMissing, errors.CloningAway, errors.RedisAway,
        ),
        tag="voices",
        takes=(multipart("file", "WAV, FLAC, MP3 or Ogg (Opus or Vorbis), 4 MiB at the most"),),
    ),
    Operation(
        "DELETE", "/v1/voices/{name}", "deleteVoice", "Deletes a voice of one's own",
        {200: gives_json(VoiceDeleted, "It speaks no more")}, refuses=(errors.NotFound, errors.RedisAway), tag="voices",
        parameters=(path("name", "As it was answered", "custom:0b4c62f0-5f0e-4f2c-9a51-8a2d7d3f5f7e"),),
    ),
    Operation(
        "GET", "/v1/voice-donation", "beginDonation", "A text to read aloud, for somebody who gives their voice away",
        {200: gives_json(Verification, "It serves once, for five minutes")},
        refuses=(errors.DonationsOff, errors.RedisAway), tag="voices",
    ),
    Operation(
        "POST", "/v1/voice-donation", "donateVoice", "The recording of that text, and who gives it",
        {200: ("It was stored", (Body("application/json", schema={"type": "object", "maxProperties": 0}),))},
        refuses=(
            errors.ClientError, errors.UploadSlow, errors.UploadLengthMissing, errors.UploadTooBig,
            errors.UploadUnreadable, errors.DonationsOff, errors.DonationsAway, errors.RedisAway,
        ),
        tag="voices",
        takes=(multipart("file", "WAV, FLAC, MP3 or Ogg, 4 MiB at the most", metadata=Submission),),
    ),
    Operation(
        "GET", "/v1/models", "listModels", "The engines at work, and the conversation they make",
        {200: gives_json(ModelList, "In OpenAI's shape")}, refuses=(errors.RedisAway,),
    ),
    Operation(
        "GET", "/v1/models/{model}", "getModel", "One of them",
        {200: gives_json(Model, "In OpenAI's shape")}, refuses=(errors.NotFound, errors.RedisAway),
        parameters=(path("model", "Its id", "antiphon"),),
    ),
    Operation(
        "GET", "/v1/health", "getHealth", "Each service, its free slots, and who waits",
        {200: gives_json(Health, "A conversation is possible"), 503: gives_json(Health, "It is not")}, security=NOBODY,
    ),
    Operation(
        "GET", "/v1/scale", "getScale", "How many workers each queue should have; for operators",
        {200: gives_json(Advice, "Advice, and what it follows from")}, refuses=(errors.RedisAway,), tag="operation",
        security=NOBODY,
    ),
    Operation(
        "GET", "/v1/openapi.json", "getDocument", "This document",
        {200: ("OpenAPI 3.1", (Body("application/json", schema={"type": "object"}),))}, security=NOBODY,
    ),
    Operation(
        "GET", "/metrics", "getMetrics", "All metrics of this web server; for operators",
        {200: ("Prometheus' text format", (Body("text/plain", schema=TEXT),))}, tag="operation", security=NOBODY,
    ),
)  # fmt: skip

HEAD: Json = {
    "info": {
        "title": "Antiphon",
        "version": "1",
        "summary": "A self-hosted voice server",
        "description": "What Antiphon answers over HTTP. Conversations travel over the WebSocket at /v1/realtime.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "servers": [{"url": "/"}],
    "security": [{"apiKey": []}, {}],
    "tags": [
        {"name": "conversation", "description": "Talking, and what was said"},
        {"name": "voices", "description": "Who can speak, and with whose voice"},
        {"name": "server", "description": "What there is"},
        {"name": "operation", "description": "For those who run it"},
    ],
    "components": {
        "securitySchemes": {
            "apiKey": {"type": "http", "scheme": "bearer", "description": "On servers that have keys"},
            "resumeToken": {
                "type": "http", "scheme": "bearer",
                "description": "`session.antiphon.resume_token` of `session.created` (Unmute: `session.updated`)",
            },
            "resumeHeader": {
                "type": "apiKey", "in": "header", "name": "X-Antiphon-Resume",
                "description": "The same, where a proxy wants Authorization for itself",
            },
        },
    },
}  # fmt: skip


@cache
def written() -> bytes:
    """The document as it is served and as docs/openapi.json has it."""
    return msgspec.json.format(msgspec.json.encode(openapi.document(OPERATIONS, HEAD)), indent=2) + b"\n"
