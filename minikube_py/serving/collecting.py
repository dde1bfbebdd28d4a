"""Python's cycle collector, in portions that do not hold the event loop for long.

The collector looks at the young objects when so many more were made than went. Where old objects go as fast as new
ones come (a namespace that is emptied), the young ones pile up meanwhile, and to look at hundreds of thousands takes
tens of milliseconds. So they are looked at after so many changes of the datastore as well.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

_CHANGES = 256


def pace() -> Callable[[Sequence[object]], None]:
    """What is to be called with each published batch of changes."""
    seen = 0

    def published(changes: Sequence[object]) -> None:
        nonlocal seen
        seen += len(changes)
        if seen >= _CHANGES:
            seen = 0
            gc.collect(0)

    return published
