"""What an HTTP answer of a webhook is worth: the decoded object, or an error in client-go's words.

Follows ``rest.Request.transformResponse`` and ``errors.NewGenericServerResponse``: a Status object in a
failed answer speaks for itself, any other failed answer gets the sentence of its code.
"""

from __future__ import annotations

from typing import Any

import orjson

from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.json_errors import explain
from minikube_py.machinery.objects import Object


class AnsweredWithError(Exception):
    """An answer that is no object, or says that something went wrong; the text is client-go's."""


_SENTENCES = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    410: "the server was unable to handle the request: the resource is gone",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


def answered_with(code: int, content_type: str, body: bytes) -> Object:
    """The object in an answer. Raises AnsweredWithError."""
    decoded = _decoded(body)
    if isinstance(decoded, dict) and decoded.get("kind") == "Status" and decoded.get("status") != "Success":
        raise AnsweredWithError(str(decoded.get("message") or "unknown"))
    if not 200 <= code <= 206:
        raise AnsweredWithError(_sentence(code, content_type, body))
    if isinstance(decoded, dict):
        return decoded
    why = explain(body) if decoded is _NOTHING else "json: cannot unmarshal into Go value of type struct"
    raise AnsweredWithError(f"couldn't get version/kind; json parse error: {why or 'unexpected end of JSON input'}")


_NOTHING: Any = object()


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _NOTHING


def _sentence(code: int, content_type: str, body: bytes) -> str:
    text = "unknown"
    if not content_type or content_type.startswith("text/"):
        text = body.decode(errors="replace").strip()
    if code in (403, 406, 415):
        return text
    found = _SENTENCES.get(code)
    if found is not None:
        return found
    if code >= 500:
        return f"an error on the server ({go_quote(text)}) has prevented the request from succeeding"
    return f"the server responded with the status code {code} but did not return more information"
