"""HTTP: health, voices, metrics. Each answer is JSON but the last."""

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST

from config.errors import AntiphonError, ClientError
from config.metrics import errors
from config.redis_keys import STAGES
from config.unmute_metrics import health_ok
from tasks.streams import RedisError
from web import metric_files
from web.roles import listing
from web.runtime import runtime

http = Blueprint("http", __name__)


@http.errorhandler(RedisError)
def redis_away(error: RedisError) -> tuple[Response, int]:
    """Whatever was asked for: it can be asked for again when Redis is back."""
    return jsonify({"error": f"Redis does not answer: {type(error).__name__}"}), 503


@http.get("/v1/health")
def health() -> tuple[Response, int]:
    """Each stage up or not, with its workers and free slots; 503 when a conversation is not possible.

    `refused`, where there are any: processes of another version, whose slots are not counted, and why.
    `error`, where Redis cannot say: then no stage is up.
    """
    try:
        stages = runtime().watchdog.health()
        cloning = runtime().uploads.up()
    except RedisError as error:
        health_ok.observe(0)
        away = {f"{stage}_up": False for stage in (*STAGES, "voice_cloning")}
        why = f"Redis does not answer: {type(error).__name__}"
        return jsonify({**away, "ok": False, "stages": {}, "error": why}), 503
    up = {f"{stage}_up": said["workers"] > 0 for stage, said in stages.items()}
    ok = all(up.values())
    health_ok.observe(ok)
    answer = {**up, "voice_cloning_up": cloning, "ok": ok, "stages": stages}
    if refused := {member.name: member.why_not for member in runtime().admission.members if member.why_not}:
        answer["refused"] = refused
    return jsonify(answer), 200 if ok else 503


@http.get("/v1/scale")
def scale() -> tuple[Response, int]:
    """How many workers each queue should have, for whoever starts and stops them; 503 while Redis cannot say."""
    try:
        return jsonify(runtime().scaling.look()), 200
    except RedisError as error:
        return jsonify({"error": f"the fleet cannot be seen: {type(error).__name__}"}), 503


@http.get("/v1/voices")
def voices() -> Response:
    """The characters in Unmute's shape, those that can be talked to first."""
    return jsonify(listing(runtime().roles))


@http.post("/v1/voices")
def clone_voice() -> tuple[Response, int]:
    """Makes a voice of the recording in the form's field `file`; answers its name, which sessions may ask for."""
    try:
        return jsonify({"name": runtime().uploads.clone(request.environ)}), 200
    except AntiphonError as error:
        wire_code = error.wire_code if isinstance(error, ClientError) else error.code
        errors.labels(wire_code).inc()
        told = {
            "type": error.type,
            "code": wire_code,
            "message": str(error),
            "param": getattr(error, "param", None),
        }
        return jsonify({"error": told}), error.http_status


@http.get("/metrics")
def metrics() -> Response:
    """Prometheus' text format: all processes of this server together."""
    return Response(metric_files.page(), content_type=CONTENT_TYPE_LATEST)
