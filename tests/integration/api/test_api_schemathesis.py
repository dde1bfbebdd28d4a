"""Schemathesis over the published OpenAPI v3 documents: what is asked for by a document is no error of the server, and
what the server answers is what the document says.

Bounded by counts: each seed takes a few operations of every document, and a few cases of each, always the same ones.
``PYK3S_SCHEMATHESIS_SEED`` makes another run by hand. Left out is what ``openapi_cases`` leaves out, and why.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import hypothesis
import pytest
import requests
from api_process import Running
from hypothesis import HealthCheck, Phase
from openapi_cases import LEFT_OUT, LEFT_OUT_GROUPS
from test_api_openapi_fuzz import expected

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the libraries it loads
    import schemathesis
    from schemathesis.checks import CheckFunction
    from schemathesis.core.failures import FailureGroup
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

SEEDS = [int(os.environ["PYK3S_SCHEMATHESIS_SEED"])] if "PYK3S_SCHEMATHESIS_SEED" in os.environ else [1, 2]
OPERATIONS_OF_A_DOCUMENT = 4
CASES_OF_AN_OPERATION = 3
PATIENCE_SECONDS = 120
JSON = "application/json"
CONFORMS: list[CheckFunction] = [content_type_conformance, response_schema_conformance]
CALLED_TEXT = ("/.well-known/", "/openid/")
"""JSON that Kubernetes' documents call text."""
NULL = "null is not of type"
"""Times and lists that are not there are null in Kubernetes' answers, against its documents."""


class Api:
    """The server under test, asked one thing after the other over one connection."""

    def __init__(self, running: Running) -> None:
        self.base = f"https://127.0.0.1:{running.port}"
        self.session = requests.Session()
        self.session.verify = False
        self.session.trust_env = False  # certificates that the environment names would be verified by all the same
        self.session.headers.update({"Authorization": f"Bearer {running.token}", "User-Agent": "schemathesis"})

    def document(self, path: str) -> Any:
        answer = self.session.get(self.base + path, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 200, (path, answer.text[:300])
        return answer.json()

    def call(self, case: schemathesis.Case) -> schemathesis.Response:
        if case.query:
            case.query.pop("watch", None)  # it would not end
        return case.call(base_url=self.base, session=self.session, verify=False, timeout=PATIENCE_SECONDS)


@pytest.fixture
def api(running: Running) -> Iterator[Api]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # certificates that nobody verifies; schemathesis' own
        found = Api(running)
        yield found
        found.session.close()


def operations(name: str, document: Mapping[str, Any]) -> list[Any]:
    """What of a document is tried."""
    if name.startswith(LEFT_OUT_GROUPS):
        return []
    every = (result.ok() for result in schemathesis.openapi.from_dict(speaking_json(document)).get_all_operations())
    return [operation for operation in every if not any(part in operation.path for part in LEFT_OUT)]


def speaking_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with JSON for bodies of any type: schemathesis takes ``*/*`` for the name of a type."""
    paths = {path: dict(item) for path, item in document["paths"].items()}
    for item in paths.values():
        for method, operation in item.items():
            if method != "parameters" and "*/*" in operation.get("requestBody", {}).get("content", {}):
                body = operation["requestBody"]
                item[method] = {**operation, "requestBody": {**body, "content": {JSON: body["content"]["*/*"]}}}
    return {**document, "paths": paths}


def problems(api: Api, operation: Any) -> tuple[int, list[str]]:
    """How many cases of an operation were tried, and what was wrong with the answers."""
    found: list[str] = []
    tried = 0

    @hypothesis.settings(
        max_examples=CASES_OF_AN_OPERATION, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @hypothesis.given(case=operation.as_strategy())
    def run(case: schemathesis.Case) -> None:
        nonlocal tried
        tried += 1
        answer = api.call(case)
        about = f"{answer.status_code} {case.method} {case.formatted_path} {case.query} {str(case.body)[:300]}"
        if not expected(answer.status_code, answer.content):
            found.append(f"{about}: {answer.text[:300]}")
        elif answer.status_code < 300 and not case.path.startswith(CALLED_TEXT):
            found.extend(f"{about}: {text}" for text in breaches(case, answer))

    run()
    return tried, found


def breaches(case: schemathesis.Case, answer: schemathesis.Response) -> Iterator[str]:
    """What of an answer is against the document."""
    try:
        case.validate_response(answer, checks=CONFORMS)
    except FailureGroup as group:
        yield from (text[:500] for failure in group.exceptions if NULL not in (text := str(failure)))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_server_keeps_to_its_documents(api: Api, seed: int) -> None:
    random = Random(seed)
    tried, found = 0, []
    for name, entry in api.document("/openapi/v3")["paths"].items():
        every = operations(name, api.document(entry["serverRelativeURL"]))
        for operation in random.sample(every, min(OPERATIONS_OF_A_DOCUMENT, len(every))):
            count, wrong = problems(api, operation)
            tried += count
            found += wrong
    assert not found, f"seed {seed}: {len(found)} of {tried} cases\n" + "\n".join(found[:20])
    assert tried > 100
