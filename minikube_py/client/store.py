"""A thread-free store of objects with indexes: the memory of an informer.

Keys are ``machinery.objects.key_of``. Objects are kept as they come and must never be mutated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minikube_py.machinery.objects import Object, key_of, namespace_of

IndexFunction = Callable[[Object], Sequence[str]]
_NAMESPACE = "\0namespace"


class Store:
    """Objects by key, by namespace and by any number of named indexes."""

    def __init__(self) -> None:
        self._objects: dict[str, Object] = {}
        self._functions: dict[str, IndexFunction] = {_NAMESPACE: _namespace_values}
        self._indexes: dict[str, dict[str, dict[str, Object]]] = {_NAMESPACE: {}}

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: str) -> bool:
        return key in self._objects

    def present_keys(self) -> Sequence[str]:
        """A copy of the keys, so that the store may change meanwhile."""
        return list(self._objects)

    def get(self, key: str) -> Object | None:
        return self._objects.get(key)

    def list(self, namespace: str | None = None) -> Sequence[Object]:
        if namespace:
            return list(self._indexes[_NAMESPACE].get(namespace, {}).values())
        return list(self._objects.values())

    def by_index(self, index: str, value: str) -> Sequence[Object]:
        """Raises KeyError for an unknown index."""
        return list(self._indexes[index].get(value, {}).values())

    def add_index(self, index: str, values: IndexFunction) -> None:
        if index in self._functions:
            return
        self._functions[index] = values
        self._indexes[index] = {}
        for key, obj in self._objects.items():
            self._enter(index, key, obj)

    def put(self, obj: Object) -> Object | None:
        """Take an object in; returns the one it replaces."""
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None:
            self._leave_all(key, old)
        self._objects[key] = obj
        for index in self._functions:
            self._enter(index, key, obj)
        return old

    def remove(self, key: str) -> Object | None:
        old = self._objects.pop(key, None)
        if old is not None:
            self._leave_all(key, old)
        return old

    def _enter(self, index: str, key: str, obj: Object) -> None:
        for value in self._functions[index](obj):
            self._indexes[index].setdefault(value, {})[key] = obj

    def _leave_all(self, key: str, old: Object) -> None:
        for index, function in self._functions.items():
            entries = self._indexes[index]
            for value in function(old):
                members = entries.get(value)
                if members is not None:
                    members.pop(key, None)
                    if not members:
                        del entries[value]


def _namespace_values(obj: Object) -> Sequence[str]:
    return (namespace_of(obj),)
