"""HTTP for everybody: health, voices, models, advice on replicas, metrics, and the document of all of it."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST

from config.unmute_metrics import health_ok
from tasks import fleet
from tasks.streams import RedisError
from web import health, http_errors, metric_files, models, operations
from web.answering import answered
from web.answers import VoiceDeleted, VoiceMade
from web.door import caller
from web.patience import promptly
from web.roles import listing
from web.runtime import runtime
from web.session_routes import sessions

http = Blueprint("http", __name__)
http.register_blueprint(sessions)
http_errors.handle(http)


#: No route reads a larger body, but for uploads, which have a limit of their own: a session's configuration fits.
BODY_BYTES = 1 << 18


@http.record_once
def bound_bodies(setup: Any) -> None:
    """For all routes of the app. An address that is nearly one of them is none: no redirection leads anybody on."""
    setup.app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    setup.app.url_map.merge_slashes = False


@http.after_app_request
def keep_nothing(answer: Response) -> Response:
    """Each answer is true when it is given, and some are for one person alone."""
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer


@http.get("/v1/health")
def show_health() -> Response:
    """503 when a conversation is not possible."""
    try:
        found = health.look(runtime())
    except RedisError as error:
        found = health.away(error)
    health_ok.observe(found.ok)
    return answered(found, 200 if found.ok else 503)


@http.get("/v1/scale")
def scale() -> Response:
    """How many workers each queue should have, for whoever starts and stops them."""
    return jsonify(runtime().scaling.look())


@http.get("/v1/voices")
def voices() -> Response:
    """The characters in Unmute's shape, those that can be talked to first."""
    return jsonify(listing(runtime().roles))


@http.post("/v1/voices")
def clone_voice() -> Response:
    """Makes a voice of the recording in the form's field `file`; answers its name, which sessions may ask for."""
    return answered(VoiceMade(runtime().uploads.clone(request.environ, caller().key)))


@http.delete("/v1/voices/<name>")
def delete_voice(name: str) -> Response:
    """Of one's own."""
    runtime().uploads.delete(name, caller().key)
    return answered(VoiceDeleted(name))


@http.get("/v1/models")
def list_models() -> Response:
    """In OpenAI's shape."""
    return answered(models.listed(_fleet()))


@http.get("/v1/models/<path:model>")
def show_model(model: str) -> Response:
    """One of them."""
    return answered(models.named(model, _fleet()))


def _fleet() -> list[fleet.Member]:
    return promptly(lambda: fleet.look(runtime().state))


@http.get("/v1/openapi.json")
def show_openapi() -> Response:
    """What there is."""
    answer = Response(operations.written(), content_type="application/json")
    answer.headers["Cache-Control"] = "no-cache"
    answer.add_etag()
    answer.make_conditional(request)
    return answer


@http.get("/metrics")
def metrics() -> Response:
    """Prometheus' text format: all processes of this server together."""
    return Response(metric_files.page(), content_type=CONTENT_TYPE_LATEST)
