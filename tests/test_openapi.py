"""The OpenAPI document: valid, the same in docs/ as served, and of every route. Answers are for test_http.py."""

import json
import re
import subprocess
import sys

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.house import ROOT
from web.door import OF_SESSIONS, PUBLIC
from web.operations import NOBODY, OPERATIONS, OWNER, written

DOCUMENT = json.loads(written())

#: Flask's own, of a folder that is not there; and the page, which is for people.
NOT_PROGRAMS = {"static", "page.index", "page.file"}

ROUTES = """
import json
from web.app import app
print(json.dumps([[rule.endpoint, rule.rule, sorted(rule.methods or ())] for rule in app.url_map.iter_rules()]))
"""


def test_it_is_a_valid_document_of_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_the_one_in_docs_is_the_one_that_is_served():
    assert (ROOT / "docs/openapi.json").read_bytes() == written(), "make openapi"


def test_every_route_is_in_it_with_its_methods_and_nothing_else():
    ran = subprocess.run(
        [sys.executable, "-c", ROUTES], check=True, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule), method)
        for endpoint, rule, methods in json.loads(ran.stdout)
        if endpoint not in NOT_PROGRAMS
        for method in set(methods) - {"HEAD", "OPTIONS"}
    }
    described = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert routes == described, "web/operations.py has an entry for each route"


def test_no_key_is_said_to_be_wanted_where_the_door_wants_none():
    of_anybody = {operation.path for operation in OPERATIONS if operation.security == NOBODY}
    of_owners = {operation.path for operation in OPERATIONS if operation.security == OWNER}
    assert of_anybody == PUBLIC - {"/"}
    assert of_owners and all(path.startswith(OF_SESSIONS) for path in of_owners)
    assert not [operation for operation in OPERATIONS if operation.security not in (None, NOBODY, OWNER)]


def test_names_of_operations_are_given_once():
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_parameter_of_an_address_is_described(operation):
    described = {parameter["name"] for parameter in operation.parameters if parameter["in"] == "path"}
    assert described == set(re.findall(r"{(\w+)}", operation.path))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_refusal_is_told_by_its_code(operation):
    answers = DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"]
    for error in operation.refuses:
        answer = answers[str(error.http_status)]
        assert f"`{error.code}`" in answer["description"]
        assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorAnswer")
    assert "default" in answers


def test_what_stands_under_a_field_in_the_source_describes_it():
    assert DOCUMENT["components"]["schemas"]["Health"]["properties"]["ok"]["description"] == (
        "A conversation is possible."
    )


def test_every_schema_is_used():
    used = set(re.findall(r'"#/components/schemas/(\w+)"', written().decode()))
    assert used == set(DOCUMENT["components"]["schemas"])
