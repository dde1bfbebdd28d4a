"""The cycle collector runs in small portions, counted in changes of the datastore."""

from __future__ import annotations

import gc

import pytest

from minikube_py.serving.collecting import _CHANGES, pace


def test_the_young_are_looked_at_after_so_many_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    generations: list[int] = []
    monkeypatch.setattr(gc, "collect", generations.append)
    published = pace()
    for _ in range(_CHANGES - 1):
        published([object()])
    assert generations == []
    published([object()])
    assert generations == [1]
    published([object()] * (3 * _CHANGES))  # a large batch is one portion all the same
    published([object()])
    assert generations == [1, 1]


def test_young_objects_do_not_pile_up_while_old_ones_go() -> None:
    published, old = pace(), [[number] for number in range(50_000)]
    gc.collect()
    kept, most = [], 0
    for number in range(20_000):
        kept.append([number])
        old.pop()  # for the collector's own count nothing has happened
        published([None])
        most = max(most, len(gc.get_objects(generation=0)) if not number % 64 else 0)
    assert most < 10 * _CHANGES
    assert len(kept) == 20_000
