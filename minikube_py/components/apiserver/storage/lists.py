"""Consistent pages of a collection: from the cache for the newest state, from the store's history before it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from minikube_py.components.apiserver.storage.cache import WatchCache
from minikube_py.components.apiserver.storage.caches import Caches
from minikube_py.components.apiserver.storage.continue_tokens import Place, compacted, decode_token, encode_token
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.storage.selection import Selection
from minikube_py.components.apiserver.storage.slices import slices
from minikube_py.datastore.types import Compacted, FutureRevision, StoreUnavailable
from minikube_py.machinery.errors import (
    ApiError,
    FieldError,
    bad_request,
    expired,
    forbidden_field,
    invalid,
    service_unavailable,
)

Convert = Callable[[Sequence[Entry]], Awaitable[Sequence[Entry]]]
MATCHED_AT_ONCE, MATCHED_BYTES = 128, 512 * 1024
"""Objects that selectors are matched against before other requests get their turn; each may have to be parsed."""
MADE_AT_ONCE, MADE_BYTES = 512, 2 * 1024 * 1024
"""Entries that are made of the past's records before other requests get their turn."""
_UINT64_DIGITS = 20
_TOO_OLD = "The resourceVersion for the provided list is too old."


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Options of a list, as the query gives them; ``resource_version`` is text."""

    resource_version: str = ""
    match: str = ""
    limit: int = 0
    continue_token: str = ""
    initial_events: bool | None = None


EVERYTHING_NEWEST = ListOptions()


@dataclass(frozen=True, slots=True)
class Page:
    """A page of entries at ``revision``; ``remaining`` is None when it is not known."""

    entries: Sequence[Entry]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


async def read_page(
    caches: Caches,
    cache: WatchCache,
    selection: Selection,
    options: ListOptions,
    convert: Convert | None = None,
) -> Page:
    """One page. ApiError: 400 and 422 for bad options, 410 when compacted, 504 for a future revision.

    ``convert`` makes the entries of another version, before they are selected; its errors pass through.
    """
    check_options(options)
    place = decode_token(options.continue_token) if options.continue_token else Place(0, "")
    if options.continue_token and options.resource_version not in ("", "0"):
        raise bad_request("specifying resource version is not allowed when using continue")
    asked = parse_revision(options.resource_version)
    exact = asked if options.match == "Exact" else place.revision
    if not exact and options.resource_version and not options.match and options.limit and asked:
        exact = asked
    newest = caches.revision
    if max(exact, asked) > newest:
        raise too_large(max(exact, asked), newest)
    entries: Sequence[Entry]
    past = bool(exact) and exact < cache.revision
    if past:
        entries = await _past_entries(caches, cache, selection, exact, place)
    else:
        entries = cache.entries(selection.namespace)
    found = _after(entries, place.start, selection, namespaced=cache.shape.namespaced)
    if convert is not None and not selection.everything:
        found = await convert([entry for entry in found if selection.in_scope(entry.namespace, entry.name)])
    limit = 0 if options.resource_version == "0" else options.limit  # as kube-apiserver's watch cache answers
    page = await _cut(found, selection, limit, exact or newest, namespaced=cache.shape.namespaced)
    if convert is not None and selection.everything:
        page = replace(page, entries=await convert(page.entries))
    _count(cache, len(entries), len(page.entries), past=past, consistent=not options.resource_version and not exact)
    return page


def _count(cache: WatchCache, fetched: int, returned: int, *, past: bool, consistent: bool) -> None:
    counts = cache.counts
    if past:
        counts.past_lists += 1
        counts.past_fetched += fetched
        counts.past_evaluated += fetched
        counts.past_returned += returned
        return
    counts.lists += 1
    counts.consistent += consistent
    counts.fetched += fetched
    counts.returned += returned


async def _past_entries(
    caches: Caches, cache: WatchCache, selection: Selection, revision: int, place: Place
) -> list[Entry]:
    prefix = cache.shape.prefix + (f"{selection.namespace}/" if selection.namespace else "")
    begin, failed = monotonic(), True
    try:
        result = await caches.store.range(prefix, revision=revision)
        failed = False
    except Compacted as error:
        raise compacted(place) if place.start else expired(_TOO_OLD) from error
    except FutureRevision as error:
        raise too_large(revision, caches.revision) from error
    except StoreUnavailable as error:  # the newest state is in memory; the past is on the disk
        raise service_unavailable(f"the datastore cannot read revision {revision} now: {error}") from error
    finally:
        caches.requests.took("list", cache.resource, monotonic() - begin, failed=failed)
    entries: list[Entry] = []
    number = size = 0
    for record in result.records:
        entries.append(Entry(cache.shape, record.key, record.value, record.mod_revision))
        number, size = number + 1, size + len(record.value)
        if number >= MADE_AT_ONCE or size >= MADE_BYTES:
            number = size = 0
            await asyncio.sleep(0)
    return entries


def _after(entries: Sequence[Entry], start: str, selection: Selection, *, namespaced: bool) -> Sequence[Entry]:
    if not start:
        return entries
    scoped = bool(selection.namespace) or not namespaced
    return entries[bisect_left(entries, start, key=lambda entry: _relative(entry, scoped)) :]


def _relative(entry: Entry, scoped: bool) -> str:
    return entry.name if scoped else f"{entry.namespace}/{entry.name}"


async def _cut(found: Sequence[Entry], selection: Selection, limit: int, revision: int, *, namespaced: bool) -> Page:
    scoped = bool(selection.namespace) or not namespaced
    if selection.everything:
        if limit <= 0 or len(found) <= limit:
            return Page(found, revision)
        page = found[:limit]
        token = encode_token(revision, _relative(page[-1], scoped))
        return Page(page, revision, token, len(found) - limit)
    matching: list[Entry] = []
    for number, piece in enumerate(slices(found, MATCHED_AT_ONCE, MATCHED_BYTES)):
        if number:
            await asyncio.sleep(0)
        for entry in piece:
            if selection.name and entry.name != selection.name:
                continue
            if not selection.matches(entry):
                continue
            if 0 < limit <= len(matching):
                return Page(matching, revision, encode_token(revision, _relative(matching[-1], scoped)))
            matching.append(entry)
    return Page(matching, revision)


def unsigned(text: str) -> int:
    """An unsigned 64-bit number; ValueError with strconv's text."""
    problem = "invalid syntax"
    if text.isdecimal() and text.isascii():
        digits = text.lstrip("0")
        if len(digits) <= _UINT64_DIGITS and int(digits or "0") < 2**64:
            return int(digits or "0")
        problem = "value out of range"
    raise ValueError(f'strconv.ParseUint: parsing "{text}": {problem}')


def parse_revision(text: str, *, watch: bool = False) -> int:
    """A resourceVersion parameter; 0 for none. ApiError for what is no number (400 in lists, 500 elsewhere)."""
    try:
        return unsigned(text) if text else 0
    except ValueError as error:
        why = f'resourceVersion: Invalid value: "{text}": {error}'
        raise (ApiError(500, "", why) if watch else bad_request(f"invalid resource version: {why}")) from error


def too_large(asked: int, newest: int) -> ApiError:
    """504: the revision lies in the future."""
    message = f"Timeout: Too large resource version: {asked}, current: {newest}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return ApiError(504, "Timeout", message, details=details, headers={"Retry-After": "1"})


def check_options(options: ListOptions, *, watch: bool = False) -> None:
    """``ValidateListOptions``: ApiError 422 for combinations that make no sense."""
    errors = _match_errors(options, watch)
    if errors:
        raise invalid("meta.k8s.io", "ListOptions", "", errors)


def _match_errors(options: ListOptions, watch: bool) -> list[FieldError]:
    match, version, initial_events = options.match, options.resource_version, options.initial_events
    field = "resourceVersionMatch"
    errors: list[FieldError] = []
    if watch and initial_events is not None and match != "NotOlderThan":
        text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        errors.append(forbidden_field(field, text))
    if match:
        if watch and initial_events is None:
            text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            errors.append(forbidden_field(field, text))
        if not watch and not version:
            text = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            errors.append(forbidden_field(field, text))
        # A watch names the unsupported value before the token, a list after it.
        found = [_unsupported_match(match, watch=watch), _match_with_token(options)]
        errors += [error for error in (found if watch else reversed(found)) if error is not None]
        if not watch and match == "Exact" and version == "0":
            errors.append(forbidden_field(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if not watch and initial_events is not None:
        errors.append(forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return errors


def _unsupported_match(match: str, *, watch: bool) -> FieldError | None:
    known = ("NotOlderThan",) if watch else ("Exact", "NotOlderThan", "")
    if match in known:
        return None
    listed = ", ".join(f'"{item}"' for item in known)
    return FieldError("FieldValueNotSupported", "resourceVersionMatch", match, f"supported values: {listed}")


def _match_with_token(options: ListOptions) -> FieldError | None:
    if not options.continue_token:
        return None
    return forbidden_field("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
