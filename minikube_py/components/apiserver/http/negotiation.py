"""Which representation an answer has: media type, Table or PartialObjectMetadata, pretty, compressed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from minikube_py.machinery.errors import ApiError, not_acceptable

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
SERVED = (JSON, YAML, PROTOBUF)
STREAMED = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
LISTED = (*SERVED, *STREAMED)
"""What a path may answer with, the longer one where it may also be watched."""
_CONVERSION = frozenset({"as", "g", "v"})
"""Parameters of an Accept clause that ask for another kind of answer."""
_VIEWS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


@dataclass(frozen=True, slots=True)
class Form:
    """A negotiated representation; ``view`` is empty for the object itself."""

    media_type: str = JSON
    view: str = ""
    view_version: str = "v1"
    pretty: bool = False

    @property
    def plain_json(self) -> bool:
        return self.media_type == JSON and not self.view and not self.pretty


@dataclass(frozen=True, slots=True)
class Clause:
    """One alternative of an Accept header."""

    media_type: str
    parameters: dict[str, str]
    quality: float


@lru_cache(maxsize=512)
def parse_accept(header: str) -> tuple[Clause, ...]:
    """The alternatives, best first (quality, then more specific types, then as written)."""
    clauses: list[Clause] = []
    for part in header.split(","):
        media_type, *pieces = (piece.strip() for piece in part.split(";"))
        if not media_type:
            continue
        parameters: dict[str, str] = {}
        quality = 1.0
        for piece in pieces:
            name, _, value = piece.partition("=")
            if name == "q":
                quality = _quality(value)
            else:
                parameters[name] = value.strip('"')
        clauses.append(Clause(media_type, parameters, quality))
    return tuple(sorted(clauses, key=lambda clause: (-clause.quality, clause.media_type.count("*"))))


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


@lru_cache(maxsize=1024)
def check_produced(accept: str, produced: tuple[str, ...]) -> None:
    """ApiError 406, in go-restful's words, when no alternative names a media type that the path produces.

    Kubernetes' router looks at whole media types and at nothing else, before anything is negotiated.
    """
    named = [part.partition(";")[0].strip(" ") for part in accept.split(",")]
    if accept and "*/*" not in named and not any(media_type in produced for media_type in named):
        message = f"406: Not Acceptable\n\nAvailable representations: {', '.join(produced)}"
        raise ApiError(406, "NotAcceptable", message, details={})


@lru_cache(maxsize=1024)
def negotiate(
    accept: str,
    pretty: str,
    user_agent: str,
    *,
    views: bool = True,
    tables: bool = True,
    protobuf: bool = True,
    produced: tuple[str, ...] = SERVED,
) -> Form:
    """The form of an answer. ApiError 406 when nothing that is asked for is served.

    ``views``: Table and PartialObjectMetadata are served; ``tables``: so is Table. ``protobuf``: the objects themselves
    have that form (custom ones have not; their metadata has). ``produced``: what the path answers with; empty for
    custom ones, which have no routes of their own.
    """
    wants_pretty = _wants_pretty(pretty, user_agent)
    if not accept:
        return Form(pretty=wants_pretty)
    if produced:
        check_produced(accept, produced)
    for clause in parse_accept(accept):
        media_type = JSON if clause.media_type in ("*/*", "application/*") else clause.media_type
        parameters = clause.parameters
        if media_type not in SERVED or not _streams_and_versions_fit(media_type, parameters, views=views):
            continue
        is_pretty = media_type == JSON and (wants_pretty or parameters.get("pretty") == "1")
        if not parameters.keys() & _CONVERSION:
            if media_type == PROTOBUF and not protobuf:
                continue
            return Form(media_type, pretty=is_pretty)
        view, version = parameters.get("as", ""), parameters.get("v", "")
        known = view in _VIEWS and parameters.get("g") == "meta.k8s.io" and version in ("v1", "v1beta1")
        if views and known and (view != "Table" or (tables and media_type != PROTOBUF)):
            return Form(media_type, view, version, is_pretty)
    raise _only(SERVED)


def _only(accepted: tuple[str, ...]) -> ApiError:
    return not_acceptable(f"only the following media types are accepted: {', '.join(accepted)}")


def _streams_and_versions_fit(media_type: str, parameters: dict[str, str], *, views: bool) -> bool:
    """Whether a clause's ``stream`` and ``sv`` (the version of generic kinds) are served."""
    stream, server_version = parameters.get("stream", ""), parameters.get("sv", "")
    return (not stream or (stream == "watch" and media_type != YAML)) and server_version in ("", "v1" if views else "")


def negotiate_watch(accept: str, user_agent: str, *, custom: bool = False) -> Form:
    """The form of a watch's events: JSON or protobuf frames. ApiError 406 for others."""
    if not custom:
        check_produced(accept, LISTED)
    try:
        form = negotiate(accept, "", user_agent, protobuf=not custom, produced=())
    except ApiError as error:
        raise _only(STREAMED) from error
    if form.media_type == YAML:
        raise _only(STREAMED)
    return Form(form.media_type, form.view, form.view_version)


def _wants_pretty(pretty: str, user_agent: str) -> bool:
    if pretty:
        return pretty in ("1", "t", "T", "true", "True", "TRUE")
    return user_agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def error_form(accept: str) -> Form:
    """The form of a Status: what is asked for as far as it is served, JSON otherwise."""
    for clause in parse_accept(accept):
        if "as" in clause.parameters:
            continue  # a Status is never shown as something else
        if clause.media_type in (YAML, PROTOBUF):
            return Form(clause.media_type)
        if clause.media_type in (JSON, "*/*"):
            return Form()
    return Form()
