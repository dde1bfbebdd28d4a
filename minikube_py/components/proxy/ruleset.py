"""A rule set as data: the part of an nftables table that follows the Services.

Chains are ordered rules, maps and sets are unordered elements; texts are in nft's own syntax.
A rule set says nothing of the fixed part of the table (base chains), which ``compiler.skeleton``
gives once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ruleset:
    """``dynamic_maps``: name -> definition, for maps that packets fill (session affinity)."""

    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    dynamic_maps: Mapping[str, str] = field(default_factory=dict)
