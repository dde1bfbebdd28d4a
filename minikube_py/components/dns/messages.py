"""DNS messages: turns a query's bytes into an answer's bytes for names that the cluster owns.

In: the wire form of one query. Out: the wire form of the answer, or None when the query must be
forwarded. dnspython does the wire format. Malformed queries raise ``BadQuery``.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from minikube_py.components.dns.zone import Answer, Zone

ttl_seconds = 5
largest_plain_udp_bytes = 512
most_aliases = 8
"""How many aliases in a row are followed."""


class BadQuery(Exception):
    """Bytes that are not a query we can answer; ``reply`` is what to send back (empty: nothing)."""

    def __init__(self, why: str, reply: bytes = b"") -> None:
        super().__init__(why)
        self.reply = reply


def parse(data: bytes) -> dns.message.Message:
    """The query. Raises BadQuery."""
    try:
        query = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError, IndexError) as error:
        raise BadQuery(str(error)) from error
    if query.flags & dns.flags.QR:
        raise BadQuery("not a query")
    if len(query.question) != 1 or query.opcode() != 0:
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.NOTIMP if query.opcode() else dns.rcode.FORMERR)
        raise BadQuery("not a standard query with one question", reply.to_wire())
    return query


def answer(
    query: dns.message.Message, zone: Zone, shuffle: Callable[[list[Answer]], None] = random.shuffle
) -> dns.message.Message | None:
    """The authoritative answer, or None when the name is not the cluster's."""
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    kind = dns.rdatatype.to_text(question.rdtype)
    if zone.covers(name):
        return _respond(query, zone, zone.lookup(name, kind), shuffle)
    if kind == "PTR":
        address = _reverse_address(question.name)
        found = zone.reverse(address, name) if address else None
        if found:
            return _respond(query, zone, found, shuffle)
    return None


def _respond(
    query: dns.message.Message,
    zone: Zone,
    records: Sequence[Answer] | None,
    shuffle: Callable[[list[Answer]], None],
) -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True)
    reply.flags |= dns.flags.AA
    if not records:
        reply.set_rcode(dns.rcode.NXDOMAIN if records is None else dns.rcode.NOERROR)
        reply.authority.append(_start_of_authority(zone.domain))
        return reply
    mixed = list(records)
    shuffle(mixed)
    reply.answer.append(_rrset(query.question[0].name, mixed))
    if mixed[0].type == "SRV":
        _add_targets(reply, zone, mixed)
    return reply


def _rrset(owner: dns.name.Name, records: Sequence[Answer]) -> dns.rrset.RRset:
    texts = [record.data for record in records]
    return dns.rrset.from_text_list(owner, ttl_seconds, dns.rdataclass.IN, records[0].type, texts)


def follow_alias(reply: dns.message.Message, zone: Zone) -> dns.name.Name | None:
    """Add to an alias what it stands for in the zone; the name outside that is still to be asked for, if any.

    Resolvers of pods do not follow aliases themselves: an address that is asked for must be in the answer.
    """
    wanted = reply.question[0].rdtype
    for _ in range(most_aliases):
        last = reply.answer[-1] if reply.answer else None
        if last is None or last.rdtype != dns.rdatatype.CNAME or wanted == dns.rdatatype.CNAME:
            return None
        target: dns.name.Name = last[0].target
        name = target.to_text(omit_final_dot=True).lower()
        if not zone.covers(name):
            return target
        records = zone.lookup(name, dns.rdatatype.to_text(wanted))
        if not records:
            return None
        reply.answer.append(_rrset(target, records))
    return None


def _add_targets(reply: dns.message.Message, zone: Zone, records: Sequence[Answer]) -> None:
    """The addresses of SRV targets, so that clients need no second look-up."""
    for target in dict.fromkeys(record.data.rsplit(" ", 1)[1].rstrip(".") for record in records):
        addresses = zone.lookup(target, "A")
        if addresses:
            texts = [item.data for item in addresses]
            reply.additional.append(dns.rrset.from_text_list(target + ".", ttl_seconds, dns.rdataclass.IN, "A", texts))


def _start_of_authority(domain: str) -> dns.rrset.RRset:
    text = f"ns.dns.{domain}. hostmaster.{domain}. 1 7200 1800 86400 {ttl_seconds}"
    return dns.rrset.from_text(domain + ".", ttl_seconds, dns.rdataclass.IN, "SOA", text)


def _reverse_address(name: dns.name.Name) -> str:
    try:
        return str(ipaddress.ip_address(dns.reversename.to_address(name)))
    except (dns.exception.DNSException, ValueError):
        return ""


def to_wire(reply: dns.message.Message, query: dns.message.Message, *, udp: bool) -> bytes:
    """The answer's bytes, truncated (TC) to what the client said it takes over UDP."""
    if not udp:
        return bytes(reply.to_wire(max_size=65535))
    limit = max(largest_plain_udp_bytes, query.payload if query.edns >= 0 else largest_plain_udp_bytes)
    try:
        return bytes(reply.to_wire(max_size=limit))
    except dns.exception.TooBig:
        short = dns.message.make_response(query, recursion_available=True)
        short.flags |= dns.flags.TC
        return bytes(short.to_wire())


def failure(query: dns.message.Message, rcode: dns.rcode.Rcode) -> bytes:
    """An answer that says only what went wrong."""
    reply = dns.message.make_response(query, recursion_available=True)
    reply.set_rcode(rcode)
    return bytes(reply.to_wire())
