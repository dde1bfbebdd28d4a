"""The declaration of a kind: everything the registry must know about it, in one record.

A built-in kind is one module under ``machinery.kinds`` that ends in a ``Kind``; a
CustomResourceDefinition makes the same record at run time. All functions are pure. Functions that
take a *draft* may change it: it is the request's private copy. Objects named ``old`` are shared
and read-only.

The order in which the registry uses them, as ``registry/rest`` of the API server does:

* create: decode, ``default``, mutating admission, ``prepare_create``, allocations (cluster IPs),
  ``validate``, validating admission, store;
* update: decode or patch, ``default``, mutating admission, ``prepare_update``, ``validate_update``,
  validating admission, store;
* update of the status subresource: only ``status`` (and what ``prepare_status`` keeps) changes,
  then ``validate_status``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

Cell = str | int | float | bool | None

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

RETURNS_DELETED_OBJECT = frozenset((
    "csidrivers", "csinodes", "deviceclasses", "podtemplates", "persistentvolumes", "persistentvolumeclaims",
    "pods", "resourceclaims", "resourceclaimtemplates", "resourcequotas", "resourceslices", "serviceaccounts",
    "services", "storageclasses", "volumeattachments", "volumeattributesclasses",
))  # fmt: skip
"""Built-in resources whose deletion is answered with the object (Kubernetes' ReturnDeletedObject)."""


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column; ``priority`` above zero is shown by ``-o wide`` only."""

    name: str
    type: str
    format: str = ""
    description: str = ""
    priority: int = 0
    described_by: str = ""
    """Where ``description`` is empty: the OpenAPI definition and property whose description is the column's,
    such as ``io.k8s.api.core.v1.ServiceSpec.type`` (see ``kinds.common.printing.column_description``)."""


@dataclass(frozen=True, slots=True)
class Subresource:
    """A subresource as discovery publishes it; ``kind`` fields are empty where it speaks the parent's kind."""

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    kind: str = ""
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the scale subresource reads and writes (dotted paths)."""

    spec_replicas: str = "spec.replicas"
    status_replicas: str = "status.replicas"
    selector: str = "spec.selector"  # a LabelSelector, a plain map, or a string in status


def no_change(draft: Object) -> None:
    """Leave the draft as it is."""


def no_change_from(draft: Object, old: Object) -> None:
    """Leave the draft as it is."""


class TakesLong(Exception):
    """Raised by ``validate`` and its like instead of blocking: ``work`` gives the errors, in a thread."""

    def __init__(self, work: Callable[[], list[FieldError]]) -> None:
        super().__init__()
        self.work = work


def no_errors(obj: Object) -> list[FieldError]:
    """Nothing to object to."""
    return []


def no_update_errors(obj: Object, old: Object) -> list[FieldError]:
    """Nothing to object to."""
    return []


def no_warnings(obj: Object, old: Object | None) -> list[str]:
    """Nothing to warn of."""
    return []


def no_early_warnings(obj: Object) -> list[str]:
    """Nothing to warn of."""
    return []


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a new object has in common with its like; ``own`` (JSON of a string) is what each has in another form."""

    text: bytes
    own: bytes = b""


OWN = b'"\0"'
"""Stands in a likeness for what is each object's own; no JSON holds it."""


@dataclass(frozen=True, slots=True)
class Alike:
    """What lets the registry take over from one new object to the next what it found out (pods of a ReplicaSet).

    Holds for the kind: ``default`` goes by the spec alone; ``default`` and ``prepare_create`` change nothing outside
    spec and status but what ``rest`` changes too; objects of the kind have no allocated values.
    """

    likeness: Callable[[Object], Likeness | None]
    """All that ``prepare_create``, ``validate`` and ``warnings`` look at in an object that is about to be prepared,
    but for its metadata as such; None for an object that has no like."""
    rest: Callable[[Object], None]
    """What ``default`` and ``prepare_create`` do outside spec and status, which are empty then."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind in one version. Only the storage version of a kind has its own stored objects."""

    resource: Resource
    singular: str
    definition: str
    """Name of the OpenAPI definition, such as ``io.k8s.api.core.v1.Pod``."""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    scale: Scale | None = None

    storage: Resource | None = None
    """The resource under which objects are stored, when it is another version than this one."""
    to_storage: Callable[[Object], Object] | None = None
    """Convert a draft of this version to the storage version."""
    from_storage: Callable[[Object], Object] | None = None
    """Convert a stored object (read-only) to this version."""

    default: Callable[[Object], None] = no_change
    prepare_create: Callable[[Object], None] = no_change
    prepare_update: Callable[[Object, Object], None] = no_change_from
    prepare_status: Callable[[Object, Object], None] = no_change_from
    validate: Callable[[Object], list[FieldError]] = no_errors
    validate_update: Callable[[Object, Object], list[FieldError]] = no_update_errors
    validate_status: Callable[[Object, Object], list[FieldError]] = no_update_errors
    warnings: Callable[[Object, Object | None], list[str]] = no_warnings
    early_warnings: Callable[[Object], list[str]] = no_early_warnings
    """Warnings about a new object as the request and admission left it, before ``prepare_create`` changes it."""
    alike: Alike | None = None
    """For kinds whose new objects are often alike."""

    name_errors: Callable[[str, bool], list[str]] | None = None
    """Texts against a name (second argument: it is a generateName prefix); None: DNS-1123 subdomain."""
    generation: bool = False
    """Whether ``metadata.generation`` counts changes of ``spec`` (of everything but metadata and status)."""
    has_status: bool = False
    """Whether writes to the main resource leave ``status`` alone. ``prepare_create`` starts a new one where
    Kubernetes does; where it does not (nodes), the status of the request is kept."""
    create_on_update: bool = False
    """Whether PUT of a missing name creates it (Kubernetes' AllowCreateOnUpdate)."""
    unconditional_update: bool = True
    """Whether PUT without a resourceVersion overwrites (Kubernetes' AllowUnconditionalUpdate)."""
    grace_period: Callable[[Object, int | None], int] | None = None
    """For kinds with graceful deletion (pods): seconds for (object, requested seconds)."""
    default_propagation: str = "Background"
    volatile: Callable[[Object], bool] | None = None
    """Which objects the datastore may keep in its volatile class (heartbeats of nodes); None: none of them."""

    columns: tuple[Column, ...] = ()
    """Printer columns; empty: Name and Created At."""
    row: Callable[[Object, float], Sequence[Cell]] | None = None
    """The cells of an object, for (object, now as Unix seconds)."""
    selectable: Mapping[str, Callable[[Object], str]] = field(default_factory=dict)
    """Field selectors beyond metadata.name and metadata.namespace, by their path."""

    extra: Mapping[str, Any] = field(default_factory=dict)
    """What only one room needs. Of built-in kinds:

    * ``virtual``: the kind is answered, never stored (reviews, bindings);
    * ``unsupported_field``: the text against an unknown field selector, where it is not the standard one;
    * ``row_conditions``: function of an object for the ``conditions`` of its table row;
    * ``table_order``: the sort key of an object among the rows of a table, where it is not the name;
    * ``validate_ephemeralcontainers``, ``validate_resize``: (new, old) for those subresources of pods;
    * ``stamp_status``: (new, old, time) for what an update of the status notes with its time (volumes);
    * ``validate_finalize``: (new, old) for that subresource (namespaces);
    * ``orphan_warning``: the warning for a deletion without propagation policy (jobs);
    * ``status_on_create``: the status of a create request is kept (nodes);
    * ``spec_annotation``: an annotation that is a field of Kubernetes' internal spec, so that views of the
      metadata alone do not show it (daemon sets' template generation).
    """

    @property
    def stored_as(self) -> Resource:
        """The resource under which objects of this kind lie in the datastore."""
        return self.storage or self.resource

    @property
    def list_kind(self) -> str:
        """What a list of this kind is called; a custom kind may have a name of its own for it."""
        return str(self.extra.get("listKind") or f"{self.resource.kind}List")

    @property
    def list_definition(self) -> str:
        """Name of the OpenAPI definition of a list."""
        return self.definition.removesuffix(self.resource.kind) + self.list_kind

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)
