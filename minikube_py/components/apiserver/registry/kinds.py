"""The kinds that are served now: built-in ones from the start, custom ones as they come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.groups import BUILTIN_PRIORITIES, CUSTOM_GROUP_PRIORITY, CUSTOM_VERSION_PRIORITY
from minikube_py.machinery.resources import Resource
from minikube_py.machinery.schema import ANYTHING, Schema, definitions

Change = Callable[[], None]


def is_virtual(kind: Kind) -> bool:
    """Whether objects of the kind are answered but never stored."""
    return bool(kind.extra.get("virtual"))


def is_custom(kind: Kind) -> bool:
    """Whether a CustomResourceDefinition made the kind."""
    return "custom" in kind.extra


def schema_of(kind: Kind) -> Schema:
    """The compiled schema of a kind; custom kinds bring theirs in ``extra["schema"]``."""
    schema: Schema | None = kind.extra.get("schema")
    return schema or definitions().find(kind.definition) or ANYTHING


class Kinds:
    """A table of kinds by group, version and plural. ``generation`` counts its changes."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self._listeners: list[Change] = []
        self.generation = 0
        for kind in kinds:
            self._kinds[_key(kind.resource)] = kind

    def get(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def of(self, resource: Resource) -> Kind:
        """The kind of a resource. Raises KeyError when it is not served."""
        return self._kinds[_key(resource)]

    def find(self, group: str, plural: str) -> Kind | None:
        """The kind of a resource in its preferred version."""
        versions = [kind for (g, _, p), kind in self._kinds.items() if g == group and p == plural]
        return min(versions, key=lambda kind: version_rank(group, kind.resource.version)) if versions else None

    def by_kind(self, api_version: str, name: str) -> Kind | None:
        """The kind called ``name`` in ``api_version``."""
        for kind in self._kinds.values():
            if kind.resource.kind == name and kind.resource.api_version == api_version:
                return kind
        return None

    def all(self) -> list[Kind]:
        return list(self._kinds.values())

    def add(self, kind: Kind) -> None:
        """Serve a kind (or its changed declaration) from now on."""
        self._kinds[_key(kind.resource)] = kind
        self._changed()

    def remove(self, resource: Resource) -> None:
        if self._kinds.pop(_key(resource), None) is not None:
            self._changed()

    def on_change(self, listener: Change) -> None:
        """Call ``listener`` after each change of the table."""
        self._listeners.append(listener)

    def group_names(self) -> list[str]:
        """All groups in discovery's order; the core group is "" and comes first."""
        return sorted({group for group, _, _ in self._kinds}, key=group_rank)

    def has_builtin(self, group: str) -> bool:
        """Whether a group has kinds of its own, not only those of CustomResourceDefinitions."""
        return any(g == group and not is_custom(kind) for (g, _, _), kind in self._kinds.items())

    def versions(self, group: str) -> list[str]:
        """The versions of a group, the preferred one first."""
        found = {version for g, version, _ in self._kinds if g == group}
        return sorted(found, key=lambda version: version_rank(group, version))

    def in_version(self, group: str, version: str) -> list[Kind]:
        """The kinds of a group version by their plural."""
        found = [kind for (g, v, _), kind in self._kinds.items() if g == group and v == version]
        return sorted(found, key=lambda kind: kind.resource.plural)

    def _changed(self) -> None:
        self.generation += 1
        for listener in self._listeners:
            listener()


def _key(resource: Resource) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural


_GROUPS = {entry.group: entry.group_priority for entry in BUILTIN_PRIORITIES}
_VERSIONS = {(entry.group, entry.version): entry.version_priority for entry in BUILTIN_PRIORITIES}


def group_rank(group: str) -> tuple[int, str]:
    """Sort key: falling priority, then name; apiregistration.k8s.io directly follows the core group."""
    if group == "apiregistration.k8s.io":
        return (-17900, group)
    return (-_GROUPS.get(group, CUSTOM_GROUP_PRIORITY), group)


def version_rank(group: str, version: str) -> tuple[int, tuple[int, int, int, str]]:
    """Sort key: falling priority, then Kubernetes' order of version names (v2, v1, v1beta1, v1alpha1)."""
    return (-_VERSIONS.get((group, version), CUSTOM_VERSION_PRIORITY), kube_version_key(version))


def kube_version_key(version: str) -> tuple[int, int, int, str]:
    """Sorts GA before beta before alpha, higher numbers first (``version.CompareKubeAwareVersionStrings``)."""
    import re

    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not found:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return (stage, -int(found[1]), -int(found[3] or 0), version)
