"""A plain client of one authority for names: signed transfers and updates (RFC 2136). Knows nothing of Pulumi.

Who wrote a name stands in a TXT record below it, so that nobody overwrites or takes away what is another's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dns import message, rcode, rdataclass, rdatatype, rrset, tsig, update, xfr, zone
from dns.exception import DNSException
from dns.name import Name
from dns.rdtypes.ANY.TXT import TXT

from stacks.provider.record.link import Link, LinkError

WRITER = b"_qhs"
LONGEST = 255  # bytes of one string of a TXT record
# Of the domain itself: whoever made it owns them.
OF_DOMAIN = {rdatatype.SOA, rdatatype.NS}
CHANGED = {rcode.NXDOMAIN, rcode.YXDOMAIN, rcode.NXRRSET, rcode.YXRRSET}
REFUSALS = {
    rcode.NOTAUTH: "it is no authority for that domain, or does not take that from this key (NOTAUTH)",
    rcode.REFUSED: "it does not take that from this key, or not from here (REFUSED)",
}
SIGNATURES: dict[type[Exception], str] = {
    tsig.PeerBadKey: "it does not know the key, or does not take that from it (BADKEY)",
    tsig.PeerBadSignature: "it has another secret for the key (BADSIG)",
    tsig.PeerBadTime: "its clock and ours are more than 300 s apart (BADTIME)",
}


class NamesError(Exception):
    """An authority did not do what it was asked: which, what it said, the way out."""


@dataclass(frozen=True)
class Reading:
    """What stands at one name."""

    rrsets: tuple[rrset.RRset, ...] = ()
    mark: rrset.RRset | None = None
    """The record that says who wrote it."""

    @property
    def writer(self) -> str | None:
        """The resource that wrote it last; None where no resource did."""
        if self.mark is None:
            return None
        return b"".join(part for one in self.mark for part in one.strings).decode(errors="replace")


@dataclass
class Client:
    """One authority. The connection to it is opened when it is asked, and kept."""

    machine: str
    key: tsig.Key
    connect: Callable[[], Link]
    _link: Link | None = None
    _turn: threading.RLock = field(default_factory=threading.RLock)

    def read(self, domain: Name, name: Name) -> Reading:
        """What stands at a name of a domain. Raises NamesError."""
        return self.list(domain).get(name, Reading())

    def list(self, domain: Name) -> dict[Name, Reading]:
        """What stands in a domain, by name. Raises NamesError."""
        found = zone.Zone(domain, relativize=False)
        query, _ = xfr.make_query(found, keyring=self.key)
        with self._asking(domain), xfr.Inbound(found) as inbound:
            context = None
            for wire in self._answers(query):
                answer = message.from_wire(
                    wire, keyring=self.key, request_mac=query.mac, xfr=True, tsig_ctx=context, multi=True
                )
                self._accept(domain, answer)
                if inbound.process_message(answer):
                    break
                context = answer.tsig_ctx
        return _readings(found)

    def write(self, domain: Name, name: Name, seen: Reading, wanted: Sequence[rrset.RRset], writer: str) -> None:
        """Have this and nothing else at a name. Raises NamesError, also where it is not as it was `seen` any more."""
        change = _replacing(domain, name, seen)
        for one in wanted:
            change.add(name, one.to_rdataset())
        change.add(_mark(name), 0, _text(writer))
        self._send(domain, name, change)

    def remove(self, domain: Name, name: Name, seen: Reading) -> None:
        """Have nothing at a name. Raises NamesError, also where it is not as it was `seen` any more."""
        self._send(domain, name, _replacing(domain, name, seen))

    def _send(self, domain: Name, name: Name, change: update.UpdateMessage) -> None:
        change.use_tsig(self.key)
        with self._asking(domain):
            answer = message.from_wire(next(self._answers(change)), keyring=self.key, request_mac=change.mac)
            if answer.rcode() in CHANGED:
                raise NamesError(
                    f"{_text_of(name)}: found something else than {self.machine} had there a moment ago, "
                    "so nothing was written. Way out: run it again, which shows what it is now"
                )
            self._accept(domain, answer)

    def _answers(self, question: message.Message) -> Iterator[bytes]:
        """Ask; what comes back. Raises LinkError."""
        if self._link and not self._link.open:
            self._link.close()
            self._link = None
        wire = question.to_wire()
        if self._link is None:
            self._link = self.connect()
            self._link.send(wire)
        else:
            try:
                self._link.send(wire)
            except LinkError:  # ended in this very moment, as nobody had asked for a while
                self._link = self.connect()
                self._link.send(wire)
        while True:
            yield self._link.receive()

    def _accept(self, domain: Name, answer: message.Message) -> None:
        if answer.rcode() != rcode.NOERROR:
            raise NamesError(self._fault(domain, REFUSALS.get(answer.rcode(), rcode.to_text(answer.rcode()))))
        if not answer.had_tsig:
            raise NamesError(self._fault(domain, "it did not sign its answer"))

    @contextmanager
    def _asking(self, domain: Name) -> Iterator[None]:
        """One question at a time, and every fault as one message."""
        with self._turn:
            try:
                yield
            except (LinkError, DNSException) as error:
                if self._link:
                    self._link.close()
                self._link = None
                said = SIGNATURES.get(type(error), f"no answer: {error}")
                raise NamesError(self._fault(domain, said)) from None

    def _fault(self, domain: Name, found: str) -> str:
        return (
            f"{self.machine}, asked about {_text_of(domain)}: {found}; wanted an authority that takes updates with the "
            f"key {_text_of(self.key.name)}. Way out: power it on, or `qhs up`, which configures it"
        )


def _readings(found: zone.Zone) -> dict[Name, Reading]:
    rrsets: dict[Name, list[rrset.RRset]] = {}
    marks: dict[Name, rrset.RRset] = {}
    for name, rdataset in found.iterate_rdatasets():
        one = rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))
        if name.labels[0] == WRITER and rdataset.rdtype == rdatatype.TXT:
            marks[name.parent()] = one
        elif name != found.origin or rdataset.rdtype not in OF_DOMAIN:
            rrsets.setdefault(name, []).append(one)
    names = sorted(rrsets.keys() | marks.keys())
    return {name: Reading(tuple(rrsets.get(name, ())), marks.get(name)) for name in names}


def _replacing(domain: Name, name: Name, seen: Reading) -> update.UpdateMessage:
    """An update that empties a name, unless it is not as it was `seen`."""
    change = update.UpdateMessage(domain)
    for at, known in ((name, seen.rrsets), (_mark(name), (seen.mark,) if seen.mark else ())):
        for one in known:
            change.present(at, *one)
        if not known:
            change.absent(at)
        change.delete(at)
    return change


def _mark(name: Name) -> Name:
    return Name((WRITER, *name.labels))


def _text(writer: str) -> TXT:
    text = writer.encode()
    parts = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
    return TXT(rdataclass.IN, rdatatype.TXT, parts)


def _text_of(name: Name) -> str:
    return name.to_text(omit_final_dot=True)
