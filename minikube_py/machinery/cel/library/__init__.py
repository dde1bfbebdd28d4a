"""The functions that Kubernetes' base environment declares: ``functions()`` is all of them by name.

Each module is one of CEL's or Kubernetes' libraries and fills a table. What v1.36 enables: the standard
library, strings (version 2), sets, optional values, two-variable comprehensions, lists, regex, URLs, quantities,
IP addresses and CIDRs, formats, semantic versions, authorization, and JSON patch helpers for mutations.
"""

from __future__ import annotations

from functools import cache

from minikube_py.machinery.cel.overloads import Table


@cache
def functions() -> Table:
    """All functions; shared, read-only."""
    from minikube_py.machinery.cel.library import (
        addresses,
        authorization,
        conversions,
        formats,
        lists,
        operators,
        optionals,
        quantities,
        regexes,
        semvers,
        sets,
        strings,
        times,
        urls,
    )

    table: Table = {}
    for module in (
        operators, conversions, strings, times, lists, sets, optionals, regexes, urls, quantities, addresses,
        formats, semvers, authorization,
    ):  # fmt: skip
        module.declare(table)
    return table
