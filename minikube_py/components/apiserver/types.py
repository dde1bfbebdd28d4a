"""The seams inside the API server: who asks (user), what for (attributes), and who may object.

Authenticators, authorizers and admission plugins are written against these records; the HTTP face
and the local client both build them, so a rule holds for either way in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Protocol, runtime_checkable

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object


@dataclass(frozen=True, slots=True)
class UserInfo:
    """An authenticated identity."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


PATCH_ANNOTATION = "patch.webhook.admission.k8s.io/"
"""Begins audit annotations with parts of objects, which are shown where their bodies may be."""
SYSTEM_MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = UserInfo("system:anonymous", (UNAUTHENTICATED,))
LOOPBACK = UserInfo("system:apiserver", (SYSTEM_MASTERS, AUTHENTICATED))


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request wants, as authorization sees it (``authorizer.Attributes``).

    ``verb`` is Kubernetes' verb (get, list, watch, create, update, patch, delete,
    deletecollection, or the lower-case HTTP method for non-resource paths). For non-resource
    requests ``resource`` is empty and ``path`` says everything. ``label_selector`` and
    ``field_selector`` are the raw texts of list, watch and deletecollection.
    """

    verb: str
    path: str
    resource_request: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    label_selector: str = ""
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought along to prove an identity."""

    bearer_token: str = ""
    peer_certificate_der: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    """What is asked for: anonymous requests may be limited to some paths."""
    peer_chain: Callable[[], Sequence[bytes]] = tuple
    """The CAs (DER) over which TLS verified the peer's certificate, its issuer first; asked when it is new."""


class Authenticator(Protocol):
    """Turns credentials into an identity."""

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        """The identity, None when the credentials are not of this authenticator's kind.

        Raises ApiError(401) when they are of its kind and bad.
        """


class Decision(Enum):
    ALLOW = "allow"
    DENY = "deny"
    NO_OPINION = "no opinion"


class Authorizer(Protocol):
    """Decides whether an identity may do something."""

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        """The decision and the reason for it; chains end in "no opinion", which denies."""


class Operation(StrEnum):
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


@dataclass(slots=True)
class Reinvocation:
    """Whether the mutating phase runs a second time, because a webhook or policy changed the object in the first.

    ``memory`` is what plugins remember from the first round, by their names.
    """

    wanted: bool = False
    again: bool = False
    memory: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class AdmissionRequest:
    """A write on its way to the store. ``object`` is the draft (None for DELETE), ``old`` is shared and read-only.

    Mutating plugins change ``object`` in place; plugins may append to ``warnings``. ``large``: looking at the whole
    object takes so long that it should not be done on the event loop.
    """

    operation: Operation
    kind: Kind
    subresource: str
    namespace: str
    name: str
    user: UserInfo
    object: Object | None
    old: Object | None
    options: Object
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    audit_annotations: dict[str, str] = field(default_factory=dict)
    reinvocation: Reinvocation = field(default_factory=Reinvocation)
    large: bool = False
    ended: list[Callable[[], None]] | None = None
    """Called when the write is stored, refused or given up; a plugin that must know makes the list."""

    def settle(self) -> None:
        """Tell those who wait for the end of the write."""
        for tell in self.ended or ():
            tell()


class AdmissionPlugin(Protocol):
    """One admission plugin. Both methods may raise ApiError to refuse the request."""

    @property
    def name(self) -> str:
        """Kubernetes' name of the plugin, such as ``NamespaceLifecycle``."""

    def handles(self, request: AdmissionRequest) -> bool:
        """Whether the plugin has anything to say; called before the two methods, must be cheap.

        Where it looks at nothing but resource, operation and subresource, the plugin should have a true attribute
        ``handles_by_kind``: the chain then remembers the answer.
        A plugin that has a say in one phase alone may have an attribute ``phases`` that names it ("admit", "validate").
        """

    async def admit(self, request: AdmissionRequest) -> None:
        """The mutating phase."""

    async def validate(self, request: AdmissionRequest) -> None:
        """The validating phase; must not change anything."""


class AdmissionChain(Protocol):
    """All plugins in Kubernetes' order."""

    async def admit(self, request: AdmissionRequest) -> None: ...

    async def validate(self, request: AdmissionRequest) -> None: ...


@dataclass(slots=True)
class RequestContext:
    """What a write or read carries besides its object; made by the HTTP face or the local client.

    Nobody changes it. It is not frozen because there is one for each request, and that would make it cost three times
    as much.
    """

    user: UserInfo
    user_agent: str = ""
    request_id: str = ""
    field_manager: str = ""
    dry_run: bool = False
    field_validation: str = "Warn"
    force: bool = False
    warnings: list[str] = field(default_factory=list)
    audit_annotations: dict[str, str] = field(default_factory=dict)
    body_bytes: int = 0
    """The size of the request's body, as far as it is known: work on a large one is done in a thread."""


class VirtualHandler(Protocol):
    """Answers POSTs to a resource or subresource that is never stored (reviews, tokens).

    Handlers are registered by (group, plural, subresource); the subresource is empty for whole resources.
    """

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """The answer to ``body``, a private draft; ``name`` is empty for whole resources. Raises ApiError."""


@runtime_checkable
class Defaulting(Protocol):
    """A virtual handler whose bodies have defaults."""

    def default(self, body: Object) -> None:
        """Fill in what a body leaves open; it is tracked and admitted so."""


Headers = Sequence[tuple[str, str]]
