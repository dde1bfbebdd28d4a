"""A value that tells of its changes."""

from __future__ import annotations

from minikube_py.machinery.observed import Observed


def test_changes_are_told_until_the_end() -> None:
    seen: list[str] = []
    value = Observed("a")
    end = value.subscribe(lambda: seen.append(value.value))
    value.set("b")
    value.set("b")
    value.set("c")
    end()
    value.set("d")
    assert seen == ["b", "c"] and value.value == "d"
