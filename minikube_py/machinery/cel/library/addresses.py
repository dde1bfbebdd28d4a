"""Kubernetes' ``ip`` and ``cidr`` libraries."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.overloads import Table, call, member
from minikube_py.machinery.cel.types import BOOL, INT, STRING, Type, opaque

IP, CIDR = opaque("net.IP"), opaque("net.CIDR")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Ip:
    """An IP address."""

    address: _Address
    type: Type = field(default=IP, compare=False, repr=False)

    def __len__(self) -> int:
        return (self.address.max_prefixlen + 7) // 8


@dataclass(frozen=True, slots=True)
class Cidr:
    """A prefix with the address that it was written with."""

    address: _Address
    length: int
    type: Type = field(default=CIDR, compare=False, repr=False)

    def __len__(self) -> int:
        return (self.length + 7) // 8

    def network(self) -> Any:
        """The masked prefix."""
        return ipaddress.ip_network((self.address, self.length), strict=False)


def declare(table: Table) -> None:
    """Add both libraries."""
    call(table, "ip", "string_to_ip", (STRING,), IP, ip_of)
    call(table, "isIP", "is_ip", (STRING,), BOOL, _is(ip_of))
    call(table, "ip.isCanonical", "ip_is_canonical", (STRING,), BOOL, lambda text: str(ip_of(text).address) == text)
    member(table, "family", "family", (IP,), INT, lambda ip: ip.address.version)
    member(table, "isUnspecified", "is_unspecified", (IP,), BOOL, lambda ip: ip.address.is_unspecified)
    member(table, "isLoopback", "is_loopback", (IP,), BOOL, lambda ip: ip.address.is_loopback)
    member(table, "isLinkLocalMulticast", "is_link_local_multicast", (IP,), BOOL, _is_link_local_multicast)
    member(table, "isLinkLocalUnicast", "is_link_local_unicast", (IP,), BOOL, lambda ip: ip.address.is_link_local)
    member(table, "isGlobalUnicast", "is_global_unicast", (IP,), BOOL, _is_global_unicast)
    call(table, "string", "ip_to_string", (IP,), STRING, lambda ip: str(ip.address))
    call(table, "cidr", "string_to_cidr", (STRING,), CIDR, cidr_of)
    call(table, "isCIDR", "is_cidr", (STRING,), BOOL, _is(cidr_of))
    member(table, "containsIP", "cidr_contains_ip_string", (CIDR, STRING), BOOL, lambda c, t: _has_ip(c, ip_of(t)))
    member(table, "containsIP", "cidr_contains_ip_ip", (CIDR, IP), BOOL, _has_ip)
    member(table, "containsCIDR", "cidr_contains_cidr_string", (CIDR, STRING), BOOL,
           lambda cidr, text: _has_cidr(cidr, cidr_of(text)))  # fmt: skip
    member(table, "containsCIDR", "cidr_contains_cidr", (CIDR, CIDR), BOOL, _has_cidr)
    member(table, "ip", "cidr_ip", (CIDR,), IP, lambda cidr: Ip(cidr.address))
    member(table, "prefixLength", "cidr_prefix_length", (CIDR,), INT, lambda cidr: cidr.length)
    member(table, "masked", "cidr_masked", (CIDR,), CIDR,
           lambda cidr: Cidr(cidr.network().network_address, cidr.length))  # fmt: skip
    call(table, "string", "cidr_to_string", (CIDR,), STRING, lambda cidr: f"{cidr.address}/{cidr.length}")


def _is(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        try:
            parse(text)
        except EvaluationError:
            return False
        return True

    return test


def ip_of(text: str) -> Ip:
    """An address without zone; IPv4 in IPv6 form is refused, as Kubernetes does."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise EvaluationError(
            f'IP Address "{text}" parse error during conversion from string: ParseAddr("{text}"): unable to parse IP'
        ) from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise EvaluationError(f'IP address "{text}" with zone value is not allowed')
        if address.ipv4_mapped is not None:
            raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Ip(address)


def cidr_of(text: str) -> Cidr:
    """An address with a prefix length."""
    head, slash, length = text.rpartition("/")
    if slash and length.isdigit() and length.isascii() and (length == "0" or not length.startswith("0")):
        try:
            address = ip_of(head).address
        except EvaluationError:
            address = None
        if address is not None and int(length) <= address.max_prefixlen:
            return Cidr(address, int(length))
    raise EvaluationError(f'network address parse error during conversion from string: netip.ParsePrefix("{text}"): '
                          "unable to parse")  # fmt: skip


def _is_link_local_multicast(ip: Ip) -> bool:
    if ip.address.version == 4:
        return ip.address in ipaddress.ip_network("224.0.0.0/24")
    return ip.address.is_multicast and ip.address.packed[1] & 0x0F == 2


def _is_global_unicast(ip: Ip) -> bool:
    address = ip.address
    if address == ipaddress.IPv4Address("255.255.255.255"):
        return False
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)


def _has_ip(cidr: Cidr, ip: Ip) -> bool:
    return ip.address.version == cidr.address.version and ip.address in cidr.network()


def _has_cidr(cidr: Cidr, other: Cidr) -> bool:
    if cidr.address.version != other.address.version:
        return False
    return bool(cidr.length <= other.length and other.network().subnet_of(cidr.network()))
