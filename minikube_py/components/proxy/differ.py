"""The smallest nft transaction that leads from one rule set to another. Pure.

Order inside a transaction: new dynamic maps and empty chains first (rules may refer to them), then
rules, then elements, and deletions last, elements before the chains they lead to. A dynamic map
whose Service lost endpoints is emptied, or clients would stay with an endpoint that is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minikube_py.components.proxy.ruleset import Ruleset

elements_in_one_line = 200


def transaction(table: str, old: Ruleset, new: Ruleset) -> str:
    """An nft script; empty when nothing changes."""
    t = f"ip {table}"
    lines: list[str] = []
    for name, definition in new.dynamic_maps.items():
        if old.dynamic_maps.get(name) != definition:
            if name in old.dynamic_maps:
                lines += _recreate_map(t, name, old)
            lines.append(f"add map {t} {name} {{ {definition} }}")
    changed = [name for name, rules in new.chains.items() if old.chains.get(name) != rules]
    lines += [f"add chain {t} {name}" for name in changed if name not in old.chains]
    lines += [f"flush chain {t} {name}" for name in changed if name in old.chains]
    lines += [
        f"flush map {t} aff-{name}"
        for name in changed
        if f"aff-{name}" in old.dynamic_maps and f"aff-{name}" in new.dynamic_maps
    ]
    lines += [f"add rule {t} {name} {rule}" for name in changed for rule in new.chains[name]]
    for name, elements in new.maps.items():
        lines += _map_changes(t, name, old.maps.get(name, {}), elements)
    for name, members in new.sets.items():
        before = old.sets.get(name, frozenset())
        lines += _elements("delete", t, name, before - members)
        lines += _elements("add", t, name, members - before)
    gone = [name for name in old.chains if name not in new.chains]
    lines += [f"flush chain {t} {name}" for name in gone]
    lines += [f"delete chain {t} {name}" for name in gone]
    lines += [f"delete map {t} {name}" for name in old.dynamic_maps if name not in new.dynamic_maps]
    return "\n".join(lines) + "\n" if lines else ""


def _recreate_map(t: str, name: str, old: Ruleset) -> list[str]:
    """A map cannot change its definition: empty the chains that use it, then delete it."""
    users = [chain for chain, rules in old.chains.items() if any(f"@{name}" in rule for rule in rules)]
    return [*(f"flush chain {t} {chain}" for chain in users), f"delete map {t} {name}"]


def _map_changes(t: str, name: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    removed = [key for key, verdict in before.items() if after.get(key) != verdict]
    added = [f"{key} : {verdict}" for key, verdict in after.items() if before.get(key) != verdict]
    return _elements("delete", t, name, (f"{key} : {before[key]}" for key in removed)) + _elements(
        "add", t, name, added
    )


def _elements(command: str, t: str, name: str, elements: Iterable[str]) -> list[str]:
    ordered = sorted(elements)
    return [
        f"{command} element {t} {name} {{ {', '.join(ordered[start : start + elements_in_one_line])} }}"
        for start in range(0, len(ordered), elements_in_one_line)
    ]
