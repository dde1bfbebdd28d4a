"""Names: the validations of ``k8s.io/apimachinery/pkg/util/validation``, with their texts.

Each ``*_errors`` function takes a text and returns what is wrong with it, one sentence for each
problem; an empty list means valid.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
MAX_GENERATED_BASE = 58
"""generateName prefixes are cut to this many characters before the random suffix (63 - 5)."""

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_UNDERSCORE_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORE_SUBDOMAIN = rf"{_UNDERSCORE_LABEL}(\.{_UNDERSCORE_LABEL})*"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_HTTP_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"
_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_UNDERSCORE_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
    "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_EMPTY = "must be non-empty"


def max_length_error(limit: int) -> str:
    return f"must be no more than {limit} characters"


def max_bytes_error(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def regex_error(text: str, pattern: str, *examples: str) -> str:
    """A sentence with its examples and pattern, as ``validation.RegexError`` writes it."""
    if not examples:
        return f"{text} (regex used for validation is '{pattern}')"
    listed = "".join(f"{' or ' if index else ''}'{example}', " for index, example in enumerate(examples))
    return f"{text} (e.g. {listed}regex used for validation is '{pattern}')"


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text matches an ASCII pattern."""
    return _compiled(pattern).fullmatch(text) is not None


def dns1123_label_errors(text: str) -> list[str]:
    errors = [max_length_error(63)] if len(text) > 63 else []
    if not matches(_LABEL, text):
        if matches(_SUBDOMAIN, text):
            errors.append("must not contain dots")
        else:
            errors.append(regex_error(_LABEL_TEXT, _LABEL, "my-name", "123-abc"))
    return errors


def dns1123_subdomain_errors(text: str) -> list[str]:
    errors = [max_length_error(253)] if len(text) > 253 else []
    if not matches(_SUBDOMAIN, text):
        errors.append(regex_error(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    return errors


def underscore_subdomain_errors(text: str) -> list[str]:
    """A subdomain whose labels may hold underscores, as search paths of resolvers do."""
    errors = [max_length_error(253)] if len(text) > 253 else []
    if not matches(_UNDERSCORE_SUBDOMAIN, text):
        errors.append(regex_error(_UNDERSCORE_SUBDOMAIN_TEXT, _UNDERSCORE_SUBDOMAIN, "example.com"))
    return errors


def dns1035_label_errors(text: str) -> list[str]:
    errors = [max_length_error(63)] if len(text) > 63 else []
    if not matches(_LABEL_1035, text):
        errors.append(regex_error(_LABEL_1035_TEXT, _LABEL_1035, "my-name", "abc-123"))
    return errors


def wildcard_subdomain_errors(text: str) -> list[str]:
    errors = [max_length_error(253)] if len(text) > 253 else []
    if not matches(_WILDCARD, text):
        errors.append(regex_error(_WILDCARD_TEXT, _WILDCARD, "*.example.com"))
    return errors


def qualified_name_errors(text: str) -> list[str]:
    """Errors of a label or annotation key (``prefix/name`` or ``name``)."""
    return list(_qualified_name_errors(text))


@lru_cache(maxsize=4096)
def _qualified_name_errors(text: str) -> tuple[str, ...]:
    errors: list[str] = []
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        sentence = regex_error(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc")
        return (
            f"a valid label key {sentence} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        )
    if slash:
        if not prefix:
            errors.append(f"prefix part {_EMPTY}")
        else:
            errors += [f"prefix part {error}" for error in dns1123_subdomain_errors(prefix)]
    if not name:
        errors.append(f"name part {_EMPTY}")
    elif len(name) > 63:
        errors.append(f"name part {max_bytes_error(63)}")
    if not matches(_QUALIFIED, name):
        errors.append("name part " + regex_error(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc"))
    return tuple(errors)


def label_value_errors(text: str) -> list[str]:
    return list(_label_value_errors(text))


@lru_cache(maxsize=4096)
def _label_value_errors(text: str) -> tuple[str, ...]:
    errors = [max_bytes_error(63)] if len(text.encode()) > 63 else []
    if not matches(_LABEL_VALUE, text):
        errors.append(regex_error(_LABEL_VALUE_TEXT, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return tuple(errors)


def domain_prefixed_path_errors(text: str) -> list[str]:
    """Errors of ``domain/path`` (signer names, finalizers of other projects)."""
    domain, _, path = text.partition("/")
    if not domain or not path:
        return ['must be a domain-prefixed path (such as "acme.io/foo")']
    errors = [f"prefix part {error}" for error in dns1123_subdomain_errors(domain)]
    if not matches(_PATH, path):
        errors.append(
            "path part " + regex_error(f"Invalid path (regex used for validation is '{_PATH}')", _PATH, "acme.io/path")
        )
    return errors


def port_name_errors(text: str) -> list[str]:
    """Errors of an IANA service name, which container and service ports have."""
    errors = [max_length_error(15)] if len(text) > 15 else []
    if not matches("[-a-z0-9]+", text):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text and (text[0] == "-" or text[-1] == "-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def port_number_errors(port: int) -> list[str]:
    return [] if 1 <= port <= 65535 else [in_range_error(1, 65535)]


def in_range_error(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def in_range_errors(value: int, low: int, high: int) -> list[str]:
    return [] if low <= value <= high else [in_range_error(low, high)]


def config_key_errors(text: str) -> list[str]:
    """Errors of a key of a ConfigMap or Secret."""
    errors = [max_length_error(253)] if len(text) > 253 else []
    if not matches(_CONFIG_KEY, text):
        sentence = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        errors.append(regex_error(sentence, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return errors + _dots_errors(text)


def relaxed_environment_name_errors(text: str) -> list[str]:
    """Errors of an environment variable's name: printable ASCII without '='."""
    if not text:
        return [f"environment variable name {_EMPTY}"]
    if any(not 32 <= ord(char) <= 126 or char == "=" for char in text):
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    return []


def _dots_errors(text: str) -> list[str]:
    if text == ".":
        return ["must not be '.'"]
    if text == "..":
        return ["must not be '..'"]
    return ["must not start with '..'"] if text.startswith("..") else []


def c_identifier_errors(text: str) -> list[str]:
    if matches(_C_IDENTIFIER, text):
        return []
    sentence = (
        "a valid C identifier must start with alphabetic character or '_', "
        "followed by a string of alphanumeric characters or '_'"
    )
    return [regex_error(sentence, _C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def http_header_name_errors(text: str) -> list[str]:
    if matches(_HTTP_HEADER, text):
        return []
    sentence = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [regex_error(sentence, _HTTP_HEADER, "X-Header-Name")]


def percent_errors(text: str) -> list[str]:
    if matches(_PERCENT, text):
        return []
    sentence = "a valid percent string must be a numeric string followed by an ending '%'"
    return [regex_error(sentence, _PERCENT, "1%", "93%")]


def path_segment_errors(text: str, *, prefix: bool = False) -> list[str]:
    """Errors of a name that may be any URL path segment (``path.IsValidPathSegmentName``)."""
    if not prefix and text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in text]


def name_is_dns_subdomain(name: str, prefix: bool) -> list[str]:
    """Name check of most kinds; a generateName prefix may end in a dash."""
    return dns1123_subdomain_errors(mask_trailing_dash(name) if prefix else name)


def name_is_dns_label(name: str, prefix: bool) -> list[str]:
    return dns1123_label_errors(mask_trailing_dash(name) if prefix else name)


def name_is_path_segment(name: str, prefix: bool) -> list[str]:
    return path_segment_errors(name, prefix=prefix)


def mask_trailing_dash(name: str) -> str:
    """The prefix with its last dash replaced by a letter, so that it can be checked as a name."""
    return name[:-2] + "a" if len(name) > 1 and name.endswith("-") else name


def random_suffix(length: int = 5) -> str:
    """Random letters and digits without vowels and look-alikes, as generated names end in."""
    number, size = (
        int.from_bytes(os.urandom(2 * length)),
        len(_SUFFIX_ALPHABET),
    )  # so many bits that no letter is favoured
    letters = []
    for _ in range(length):
        number, letter = divmod(number, size)
        letters.append(_SUFFIX_ALPHABET[letter])
    return "".join(letters)


def generate_name(base: str) -> str:
    """A name for a ``generateName`` prefix: the prefix, cut so that the whole fits 63 characters, and five letters."""
    return base[:MAX_GENERATED_BASE] + random_suffix(5)
