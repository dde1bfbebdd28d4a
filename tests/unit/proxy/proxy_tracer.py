"""Traces a new connection through a compiled rule set: tests say where packets go, not how rules look.

Understands the rule forms that ``compiler`` writes and fails loudly on any other. Addresses:
10.42.0.0/16 are pods, 10.43.0.0/16 Services, 10.0.0.1 is this node, everything else is outside.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from minikube_py.components.proxy.ruleset import Ruleset

NODE = "10.0.0.1"
PODS = ipaddress.ip_network("10.42.0.0/16")


@dataclass(frozen=True)
class Outcome:
    """Possible endpoints (``address:port``), whether the source is rewritten, or why nothing is sent."""

    endpoints: frozenset[str] = frozenset()
    masqueraded: bool = False
    refused: str = ""


def trace(rules: Ruleset, source: str, destination: str, port: int, protocol: str = "tcp") -> Outcome:
    """Where a connection may end up."""
    found = _lookup(rules, "service_ips", "node_ports", destination, port, protocol)
    if found is None:
        refused = _lookup(rules, "refused_ips", "refused_node_ports", destination, port, protocol)
        return Outcome(refused={"goto refuse": "rejected", "drop": "dropped", None: "no rule"}[refused])
    marked: list[bool] = [False]
    endpoints = _chain(rules, found.removeprefix("goto "), source, marked)
    if endpoints is None:
        return Outcome(refused="dropped")
    return Outcome(frozenset(endpoints), marked[0])


def _lookup(rules: Ruleset, by_ip: str, by_port: str, destination: str, port: int, protocol: str) -> str | None:
    verdict = rules.maps[by_ip].get(f"{destination} . {protocol} . {port}")
    if verdict is None and destination == NODE:
        verdict = rules.maps[by_port].get(f"{protocol} . {port}")
    return verdict


def _chain(rules: Ruleset, name: str, source: str, marked: list[bool]) -> set[str] | None:
    for rule in rules.chains[name]:
        applies, action = _condition(rule, source)
        if not applies:
            continue
        if action == "drop":
            return None
        if action.startswith("goto "):
            return _chain(rules, action[5:], source, marked)
        if action.startswith("meta mark set"):
            marked[0] = True
        elif "dnat ip to ip saddr map" in action or action.startswith("update @"):
            continue
        elif "vmap" in action:
            found: set[str] = set()
            for target in re.findall(r"goto ([\w-]+)", action):
                found |= _chain(rules, target, source, marked) or set()
            return found
        elif "dnat" in action:
            pairs = re.findall(r"([\d.]+)(?: \. |:)(\d+)(?= *[,}]|$)", action.split("dnat", 1)[1])
            return {f"{address}:{number}" for address, number in pairs if "." in address}
        else:
            raise AssertionError(f"unknown rule: {rule}")
    raise AssertionError(f"chain {name} has no end")


def _condition(rule: str, source: str) -> tuple[bool, str]:
    """(whether the rule's matches hold, the rest)."""
    is_pod, is_node = ipaddress.ip_address(source) in PODS, source == NODE
    forms = [
        (r"ip saddr != 10\.42\.0\.0/16 fib saddr type != local (.*)", not is_pod and not is_node),
        (r"ip saddr 10\.42\.0\.0/16 (.*)", is_pod),
        (r"fib saddr type local (.*)", is_node),
        (r"meta l4proto \w+ (.*)", True),
    ]
    for pattern, holds in forms:
        match = re.fullmatch(pattern, rule)
        if match:
            return holds, match[1]
    ranges = re.fullmatch(r"ip daddr \{ .* \} ip saddr != \{ (.*) \} fib saddr type != local drop", rule)
    if ranges:
        allowed = [ipaddress.ip_network(item.strip()) for item in ranges[1].split(",")]
        return not is_node and not any(ipaddress.ip_address(source) in item for item in allowed), "drop"
    return True, rule
