"""The entries of ``metadata.managedFields`` as values: read, merged, sorted and written.

A manager is its name, its operation, the subresource and, for updates, the API version; entries of equal
identity are one. Written entries are sorted as the reference sorts them: applies before updates, then by
time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.field_sets import FieldSet, union
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import parse_time

UPDATE, APPLY = "Update", "Apply"
ANCIENT_CHANGES = "ancient-changes"
MAX_UPDATE_MANAGERS = 10


@dataclass(frozen=True, slots=True)
class Manager:
    """The identity of an entry: two entries of equal identity are one."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def shown(self) -> str:
        """The manager in a conflict's text."""
        text = go_quote(self.name)
        if self.subresource:
            text += f" with subresource {go_quote(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


@dataclass(frozen=True, slots=True)
class Entry:
    """What a manager owns, since when, and in which version it said so."""

    fields: FieldSet
    time: str
    api_version: str


Managers = dict[Manager, Entry]


def read_managers(entries: Iterable[Mapping[str, Any]]) -> Managers:
    """Managers of a list of entries; an entry that cannot be read makes the whole list void."""
    managers: Managers = {}
    for entry in entries:
        operation = entry.get("operation")
        fields = entry.get("fieldsV1") or {}
        if operation not in (UPDATE, APPLY) or entry.get("fieldsType") != "FieldsV1" or not isinstance(fields, dict):
            return {}
        version = str(entry.get("apiVersion") or "")
        name, subresource = str(entry.get("manager") or ""), str(entry.get("subresource") or "")
        who = Manager(name, operation, "" if operation == APPLY else version, subresource)
        known = managers.get(who)
        merged = union(known.fields, fields) if known else fields
        managers[who] = Entry(merged, str(entry.get("time") or ""), version)
    return managers


def write_managers(meta: Object, managers: Managers) -> None:
    if not managers:
        meta.pop("managedFields", None)
        return
    entries = sorted(managers.items(), key=_entry_order) if len(managers) > 1 else managers.items()
    meta["managedFields"] = [_encode(who, entry) for who, entry in entries]


def merge_ancient(managers: Managers) -> None:
    """Keep at most ten update managers: the oldest of a version become one entry."""
    if len(managers) <= MAX_UPDATE_MANAGERS:
        return
    updates = sorted((item for item in managers.items() if item[0].operation == UPDATE), key=_entry_order)
    surplus = len(updates) - MAX_UPDATE_MANAGERS
    if surplus <= 0:
        return
    for who, entry in updates[: surplus + 1]:
        bucket = Manager(ANCIENT_CHANGES, UPDATE, who.api_version, who.subresource)
        if who == bucket:
            continue
        del managers[who]
        known = managers.get(bucket)
        merged = union(known.fields, entry.fields) if known else entry.fields
        managers[bucket] = Entry(merged, entry.time, who.api_version)


def _entry_order(item: tuple[Manager, Entry]) -> tuple[str, float, str, str, str]:
    who, entry = item
    return who.operation, _seconds(entry.time), who.name, entry.api_version, who.subresource


@lru_cache(maxsize=256)
def _seconds(time: str) -> float:
    try:
        return parse_time(time) if time else 0.0
    except ValueError:  # an entry that a client wrote; it sorts first
        return 0.0


def _encode(who: Manager, entry: Entry) -> Object:
    encoded: Object = {"manager": who.name, "operation": who.operation, "apiVersion": entry.api_version}
    if entry.time:
        encoded["time"] = entry.time
    encoded["fieldsType"] = "FieldsV1"
    encoded["fieldsV1"] = entry.fields
    if who.subresource:
        encoded["subresource"] = who.subresource
    return encoded
