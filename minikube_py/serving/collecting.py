"""Python's cycle collector, in portions that do not hold the event loop for long.

The collector looks at the young objects when so many more were made than went. Where old objects go as fast as new
ones come (a namespace that is emptied), the young ones pile up meanwhile, and to look at hundreds of thousands takes
tens of milliseconds. So they are looked at after so many changes of the datastore as well, each once: what then lives
is old.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

_CHANGES = 128
_ALL_BUT_OLD = 1


def pace() -> Callable[[Sequence[object]], None]:
    """What is to be called with each published batch of changes."""
    changed = 0

    def published(changes: Sequence[object]) -> None:
        nonlocal changed
        changed += len(changes)
        if changed >= _CHANGES:
            changed = 0
            gc.collect(_ALL_BUT_OLD)

    return published
