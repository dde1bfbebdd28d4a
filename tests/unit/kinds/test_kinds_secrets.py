"""Secrets of well-known types hold what their type says."""

from __future__ import annotations

import base64

import pytest

from minikube_py.machinery.kinds.core.secret import KIND

INTO = "into Go value of type map[string]interface {}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param('{"auths": {}}', None, id="an object"),
        pytest.param("null", None, id="null"),
        pytest.param("{", "unexpected end of JSON input", id="an open brace"),
        pytest.param("x", "invalid character 'x' looking for beginning of value", id="no JSON"),
        pytest.param("[]", f"json: cannot unmarshal array {INTO}", id="a list"),
        pytest.param('"a"', f"json: cannot unmarshal string {INTO}", id="a text"),
        pytest.param("true", f"json: cannot unmarshal bool {INTO}", id="a truth"),
        pytest.param("1", f"json: cannot unmarshal number {INTO}", id="a number"),
    ],
)
def test_docker_configurations(text: str, wanted: str | None) -> None:
    data = {".dockerconfigjson": base64.b64encode(text.encode()).decode()}
    errors = KIND.validate({"metadata": {"name": "s"}, "type": "kubernetes.io/dockerconfigjson", "data": data})
    body = f'Invalid value: "<secret contents redacted>": {wanted}'
    assert [(error.field, error.body()) for error in errors] == (
        [] if wanted is None else [("data[.dockerconfigjson]", body)]
    )
