"""Validators of small values that occur in many kinds, with Kubernetes' paths and texts.

Each takes the field's path first and returns field errors; an empty list means valid.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from minikube_py.machinery.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
)
from minikube_py.machinery.kinds.common.metadata import label_errors
from minikube_py.machinery.names import (
    dns1123_label_errors,
    dns1123_subdomain_errors,
    label_value_errors,
    percent_errors,
    port_name_errors,
    port_number_errors,
    qualified_name_errors,
)
from minikube_py.machinery.quantities import Quantity, parse_quantity

Errors = list[FieldError]
Texts = Callable[[str], list[str]]

NEGATIVE = "must be greater than or equal to 0"
SELECTOR_OPERATOR = "not a valid selector operator"


def texts_as_errors(path: str, value: Any, texts: Iterable[str]) -> Errors:
    return [invalid_value(path, value, text) for text in texts]


def named(path: str, value: str, check: Texts) -> Errors:
    """Errors of a name under one of ``machinery.names``' rules."""
    return texts_as_errors(path, value, check(value))


def required_name(path: str, value: str | None, check: Texts) -> Errors:
    """A name that must be given."""
    return named(path, value, check) if value else [required(path)]


def subdomain(path: str, value: str) -> Errors:
    return named(path, value, dns1123_subdomain_errors)


def label(path: str, value: str) -> Errors:
    return named(path, value, dns1123_label_errors)


def qualified_name(path: str, value: str) -> Errors:
    return named(path, value, qualified_name_errors)


def non_negative(path: str, value: int | None) -> Errors:
    """``ValidateNonnegativeField``; unset is valid."""
    return [invalid_value(path, value, NEGATIVE)] if value is not None and value < 0 else []


def one_of(path: str, value: str, supported: Iterable[str]) -> Errors:
    """An enumeration; the supported values are listed sorted."""
    listed = list(supported)
    return [] if value in listed else [not_supported(path, value, listed)]


def one_of_in_order(path: str, value: Any, supported: Iterable[str]) -> Errors:
    """An enumeration whose error lists the supported values in the given order."""
    listed = list(supported)
    return [] if value in listed else [not_supported_in_order(path, value, listed)]


def preemption_errors(path: str, policy: str | None) -> Errors:
    """``ValidatePreemptionPolicy``; unset is valid."""
    if policy is None:
        return []
    return one_of_in_order(path, policy, ("PreemptLowerPriority", "Never")) if policy else [required(path)]


def not_supported_in_order(path: str, value: Any, supported: Iterable[str]) -> FieldError:
    listed = ", ".join(f'"{item}"' for item in supported)
    return FieldError("FieldValueNotSupported", path, value, f"supported values: {listed}")


def duplicates(path: str, values: Iterable[str], field: str = "") -> Errors:
    """A ``Duplicate`` for each value that came before; ``field`` is appended to the item's path."""
    seen: set[str] = set()
    errors: Errors = []
    for index, value in enumerate(values):
        if value in seen:
            errors.append(duplicate(f"{path}[{index}]{field}", value))
        seen.add(value)
    return errors


def label_selector_errors(
    path: str, selector: Mapping[str, Any] | None, *, allow_invalid_values: bool = False
) -> Errors:
    """``unversionedvalidation.ValidateLabelSelector``."""
    if selector is None:
        return []
    errors = label_errors(f"{path}.matchLabels", selector.get("matchLabels"))
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{index}]"
        errors += requirement_errors(where, expression, allow_invalid_values=allow_invalid_values)
    return errors


def requirement_errors(
    path: str, expression: Mapping[str, Any], *, allow_invalid_values: bool = False, any_operator: bool = False
) -> Errors:
    """``ValidateLabelSelectorRequirement``."""
    operator, values = expression.get("operator") or "", expression.get("values") or []
    errors: Errors = []
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden_field(f"{path}.values", text))
    elif not any_operator:
        errors.append(invalid_value(f"{path}.operator", operator, SELECTOR_OPERATOR))
    errors += qualified_name(f"{path}.key", expression.get("key") or "")
    if not allow_invalid_values:
        for index, value in enumerate(values):
            errors += named(f"{path}.values[{index}]", value, label_value_errors)
    return errors


def quantity(value: Any) -> Quantity:
    """An exact amount; unset counts as zero. Types were checked by the decoder before."""
    return parse_quantity(value if value is not None else 0)


def non_negative_quantity(path: str, value: Any) -> Errors:
    """``ValidateNonnegativeQuantity``; the value prints as quoted text."""
    amount = quantity(value)
    return [invalid_value(path, str(amount), NEGATIVE)] if amount.nano < 0 else []


def positive_quantity(path: str, value: Any) -> Errors:
    """``ValidatePositiveQuantity``."""
    amount = quantity(value)
    return [] if amount.nano > 0 else [invalid_value(path, str(amount), "must be greater than zero")]


def port_number(path: str, value: int) -> Errors:
    return texts_as_errors(path, value, port_number_errors(value))


def port_number_or_name(path: str, value: int | str | None) -> Errors:
    """``ValidatePortNumOrName``."""
    if isinstance(value, str):
        return named(path, value, port_name_errors)
    return port_number(path, value or 0)


def int_or_percent(path: str, value: int | str | None) -> Errors:
    """``ValidatePositiveIntOrPercent``."""
    if isinstance(value, str):
        return named(path, value, percent_errors)
    return non_negative(path, value)


def percent_over_100(path: str, value: int | str | None) -> Errors:
    """``IsNotMoreThan100Percent``."""
    percent = percent_of(value)
    if percent is not None and percent > 100:
        return [invalid_value(path, value, "must not be greater than 100%")]
    return []


def percent_of(value: int | str | None) -> int | None:
    """The number of a valid percentage, else None."""
    if isinstance(value, str) and not percent_errors(value):
        return int(value[:-1])
    return None


def ip_texts(value: str, stored: Container[str] = ()) -> list[str]:
    """Texts against something that is not an address (``IsValidIPForLegacyField``, strict as since v1.36).

    What the ``stored`` object already holds stays valid.
    """
    address = parse_ip(value)
    if value in stored:
        return []
    if address is None:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    if isinstance(address, ipaddress.IPv6Address):
        return [] if address.ipv4_mapped is None else ["must not be an IPv4-mapped IPv6 address"]
    return [] if str(address) == value else ["must not have leading 0s"]


def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as Go's lenient parser accepts it: leading zeros in IPv4 octets are decimal."""
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        octets = value.split(".")
        if len(octets) == 4 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in octets):
            return ipaddress.IPv4Address(bytes(int(part) for part in octets))
        return None
    return None if getattr(found, "scope_id", None) else found


def cidr_errors(path: str, value: str, stored: Container[str] = ()) -> Errors:
    """``IsValidCIDRForLegacyField``, strict as since v1.36; what the ``stored`` object already holds stays valid."""
    network, (text, _, length) = parse_cidr(value), value.partition("/")
    host = parse_ip(text)
    if value in stored:
        return []
    if network is None or host is None:
        return [invalid_value(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")]
    if (host.version == 4 and str(host) != text) or str(int(length)) != length:
        return [invalid_value(path, value, "must not have leading 0s in IP or prefix length")]
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        return [invalid_value(path, value, "must not have an IPv4-mapped IPv6 address")]
    if host != network.network_address:
        return [invalid_value(path, value, "must not have bits set beyond the prefix length")]
    return []


def interface_address_errors(path: str, value: str) -> Errors:
    """``IsValidInterfaceAddress``: an address with the length of its network's prefix."""
    network, host = parse_cidr(value), parse_ip(value.partition("/")[0])
    if network is None or host is None:
        text = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"
        return [invalid_value(path, value, text)]
    canonical = f"{_go_ip(host)}/{network.prefixlen}"
    return [] if canonical == value else [invalid_value(path, value, f'must be in canonical form ("{canonical}")')]


def canonical_cidr_errors(path: str, value: str) -> Errors:
    """``IsValidCIDR``: for fields that never took anything but the canonical form."""
    errors, network = cidr_errors(path, value), parse_cidr(value)
    if not errors and str(network) != value:
        errors.append(invalid_value(path, value, f'must be in canonical form ("{network}")'))
    return errors


def parse_cidr(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network a CIDR text names (host bits are ignored); None when it is none."""
    address, slash, length = value.partition("/")
    host = parse_ip(address)
    if not slash or host is None or not (length.isascii() and length.isdigit()) or int(length) > host.max_prefixlen:
        return None
    return ipaddress.ip_network((host, int(length)), strict=False)


def non_special_ip_errors(path: str, value: str) -> Errors:
    """``ValidateNonSpecialIP``: no unspecified, loopback, link-local or link-local multicast address."""
    address = parse_ip(value)
    if address is None:
        return [invalid_value(path, value, "must be a valid IP address")]
    errors: Errors = []
    if address.is_unspecified:
        errors.append(invalid_value(path, value, f"may not be unspecified ({address})"))
    if address.is_loopback:
        errors.append(invalid_value(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        errors.append(invalid_value(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if str(address).startswith(("224.0.0.", "ff02:")):
        text = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        errors.append(invalid_value(path, value, text))
    return errors


def ip_warnings(path: str, value: str) -> list[str]:
    """``GetWarningsForIP``: addresses that programs read in different ways."""
    address = parse_ip(value)
    if address is None:
        return []
    plain = _go_ip(address)
    if plain != value and (address.version == 4 or ":" not in plain):
        text = f'non-standard IP address "{value}" will be considered invalid in a future Kubernetes release'
        return [f'{path}: {text}: use "{plain}"']
    if plain != value:
        return [f'{path}: IPv6 address "{value}" should be in RFC 5952 canonical format ("{plain}")']
    return []


def _go_ip(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An address as Go prints it: IPv4 in IPv6 as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def cidr_warnings(path: str, value: str) -> list[str]:
    """``GetWarningsForCIDR``: networks with bits beyond the prefix, or written in a non-standard way."""
    network, (address, _, length) = parse_cidr(value), value.partition("/")
    host = parse_ip(address)
    if network is None or host is None:
        return []
    warnings: list[str] = []
    if host != network.network_address:
        whole = f"{host}/{network.max_prefixlen}"
        warnings.append(
            f'{path}: CIDR value "{value}" is ambiguous in this context (should be "{network}" or "{whole}"?)'
        )
    odd = ":" not in address and str(host) != address
    if odd or _go_ip(host) != str(host) or length != str(network.prefixlen):
        text = f'non-standard CIDR value "{value}" will be considered invalid in a future Kubernetes release'
        warnings.append(f'{path}: {text}: use "{network}"')
    if not warnings and str(host) != address:
        text = f'should be in RFC 5952 canonical format ("{host}/{network.prefixlen}")'
        warnings.append(f'{path}: IPv6 CIDR value "{value}" {text}')
    return warnings
