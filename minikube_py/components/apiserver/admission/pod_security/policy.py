"""Levels and versions of the Pod Security Standards, and the labels that choose them for a namespace.

Same rules and texts as ``k8s.io/pod-security-admission/api``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from minikube_py.machinery.errors import FieldError, invalid_value

PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
LATEST = 10**6
"""The minor version that ``latest`` stands for in comparisons."""
_VERSION = re.compile(r"v1\.([0-9]|[1-9][0-9]+)")


@dataclass(frozen=True, slots=True)
class LevelVersion:
    """A level at a minor version of Kubernetes."""

    level: str = "privileged"
    minor: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor == LATEST else f'v1.{self.minor}'}"

    @property
    def privileged(self) -> bool:
        return self.level == "privileged"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a namespace demands."""

    enforce: LevelVersion = LevelVersion()
    audit: LevelVersion = LevelVersion()
    warn: LevelVersion = LevelVersion()

    @property
    def privileged(self) -> bool:
        return self.enforce.privileged and self.audit.privileged and self.warn.privileged


def read_level(level: str) -> str:
    """Why the level cannot be used; empty when it can."""
    return "" if level in LEVELS else f"must be one of {', '.join(LEVELS)}"


def read_minor(version: str) -> tuple[int, str]:
    """The minor version, and why it cannot be read; one that cannot counts as latest."""
    found = _VERSION.fullmatch(version)
    if found:
        return int(found[1]), ""
    return LATEST, "" if version == "latest" else 'must be "latest" or "v1.x"'


def policy_of(labels: Mapping[str, str], defaults: Policy) -> tuple[Policy, list[FieldError]]:
    """The policy that labels choose, and what is wrong with them.

    A level that cannot be read counts as restricted when enforced, as privileged otherwise; a version
    that cannot be read counts as latest.
    """
    errors: list[FieldError] = []
    chosen: dict[str, LevelVersion] = {}
    for mode in ("enforce", "audit", "warn"):
        default: LevelVersion = getattr(defaults, mode)
        level, minor = default.level, default.minor
        label = PREFIX + mode
        if label in labels:
            level = labels[label]
            if why := read_level(level):
                errors.append(invalid_value(f"metadata.labels[{label}]", level, why))
                level = "restricted" if mode == "enforce" else "privileged"
        version = labels.get(f"{label}-version")
        if version is not None:
            minor, why = read_minor(version)
            if why:
                errors.append(invalid_value(f"metadata.labels[{label}-version]", version, why))
        chosen[mode] = LevelVersion(level, minor)
    enforce, warn = chosen["enforce"], chosen["warn"]
    # As documented: without a warn label, warnings follow what is enforced.
    follows = PREFIX + "warn" not in labels and labels.get(PREFIX + "enforce") in LEVELS
    if follows and _stricter(enforce, warn):
        minor = warn.minor if f"{PREFIX}warn-version" in labels else enforce.minor
        chosen["warn"] = LevelVersion(enforce.level, minor)
    return Policy(**chosen), errors


def _stricter(one: LevelVersion, other: LevelVersion) -> bool:
    return LEVELS.index(one.level) > LEVELS.index(other.level)
