"""C-SIG, C-HSM, C-KEY and C-TSA: what signs, as stacks declare it and devices have it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from policies.baseline import Baseline
from policies.facts import Partition, PlanFacts, SigningCertificate, SigningKey, SigningSite, StorePolicy
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict
from stacks.model.signing import TIME_STAMP

PINS = ("secret", "data", "hsm")
"""Below it each machine has the PINs of its tokens."""


class Authorities(Strict):
    """Who may certify keys of duty signatures, each with the SHA-256 of its certificates."""

    authorities: dict[str, list[str]]


class Devices(Strict):
    """How many there are at least."""

    devices: int


class Quorum(Strict):
    """How many people at least."""

    approvers: int


class Algorithms(Strict):
    """Of keys, as a Key names them."""

    algorithms: list[str]


class Hashes(Strict):
    """Of signatures, as X.509 names them."""

    hashes: list[str]


class DutyAuthority(Rule[SigningSite | SigningCertificate]):
    """What is signed on duty chains to an authority of the State that the baseline knows."""

    control = "C-SIG-01"
    name = "duty-authority"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Authorities.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, SigningSite | SigningCertificate]]:
        if isinstance(resource, SigningSite | SigningCertificate):
            yield "authority", resource

    def judge(self, resource: Resource, subject: SigningSite | SigningCertificate) -> Iterator[Fault]:
        authority, wanted = known(subject.authority, "authority"), self.limits.authorities
        if authority not in wanted:
            yield Fault(authority, " or ".join(wanted), "certificates of that authority", limit="stand-in-authority")
        elif isinstance(subject, SigningCertificate):
            anchor = x509.load_pem_x509_certificate(known(subject.anchor, "anchor").encode())
            if (digest := anchor.fingerprint(SHA256()).hex()) not in wanted[authority]:
                yield Fault(f"a certificate {digest}", f"one that the baseline knows of {authority}", "see whose it is")


class KeptKeys(Rule[SigningKey]):
    """A private key never leaves its device, and does one thing."""

    control = "C-SIG-02"
    name = "kept-keys"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, SigningKey]]:
        if isinstance(resource, SigningKey):
            yield "key", resource

    def judge(self, resource: Resource, subject: SigningKey) -> Iterator[Fault]:
        wanted = {"sensitive": True, "extractable": False, "private": True}
        found = {name: known(getattr(subject, name), name) for name in wanted}
        if odd := [f"{name} {found[name]}" for name, value in wanted.items() if found[name] is not value]:
            yield Fault(", ".join(odd), "sensitive, private and not extractable", "have it replaced by another key")
        if (uses := known(subject.uses, "uses")) != (known(subject.use, "use"),):
            yield Fault(f"uses {', '.join(uses) or 'none'}", f"{subject.use} alone", "have it replaced by another key")


class TwoDevices(Rule[SigningSite | Partition]):
    """A site has devices enough that each can be lost, and every one of them has all tokens, keys and certificates."""

    control = "C-HSM-02"
    name = "two-devices"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Devices.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, SigningSite | Partition]]:
        if isinstance(resource, SigningSite | Partition):
            yield "devices", resource

    def judge(self, resource: Resource, subject: SigningSite | Partition) -> Iterator[Fault]:
        found = set(known(subject.devices, "devices"))
        if isinstance(subject, SigningSite):
            if len(found) < self.limits.devices:
                yield Fault(_listed(found), f"{self.limits.devices} or more", "another device at the site")
        elif lacking := self._of(known(subject.site, "site")) - found:
            yield Fault(_listed(found), f"{_listed(lacking)} too", "declare it on every device of the site")

    def _of(self, site: str) -> set[str]:
        return {
            device
            for one in self.plan.each(SigningSite)
            if known(one.site, "site") == site
            for device in known(one.devices, "devices")
        }


class SeveralPeople(Rule[SigningSite]):
    """No one person alone does what cannot be undone. What approvals are worth is shown by their verifier's tests."""

    control = "C-HSM-03"
    name = "several-people"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Quorum.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, SigningSite]]:
        if isinstance(resource, SigningSite):
            yield "quorum", resource

    def judge(self, resource: Resource, subject: SigningSite) -> Iterator[Fault]:
        if (found := known(subject.quorum, "quorum")) < self.limits.approvers:
            yield Fault(f"{found} approver", f"{self.limits.approvers} or more", "a higher quorum in estate.yaml")


class OwnToken(Rule[Partition | StorePolicy]):
    """A token has one owner, and whoever reads PINs reads those of one machine."""

    control = "C-HSM-05"
    name = "own-token"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Partition | StorePolicy]]:
        if isinstance(resource, SigningKey):
            yield "owner", resource
        elif isinstance(resource, StorePolicy):
            yield "PINs", resource

    def judge(self, resource: Resource, subject: Partition | StorePolicy) -> Iterator[Fault]:
        if isinstance(subject, Partition):
            owners = self._owners.get(known(subject.token, "token"), set())
            if owners != {known(subject.owner, "owner")}:
                wanted = f"{_listed(owners)}, as the token's" if owners else "a token of that label"
                yield Fault(f"{subject.owner} in {subject.token}", wanted, "a token for each tenant")
            return
        rules = known(subject.rules, "rules")
        read = {machine for path in rules if (machine := _pins_of(path))}
        if len(read) > 1 or any(sign in machine for machine in read for sign in "*+"):
            yield Fault(f"the PINs of {_listed(read)}", "those of one machine", "a policy for each machine")

    @cached_property
    def _owners(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for one in self.plan.each(Partition):
            if type(one) is Partition:
                found.setdefault(known(one.token, "token"), set()).add(known(one.owner, "owner"))
        return found


class StrongKeys(Rule[SigningKey]):
    """Keys last as long as what they sign is looked at."""

    control = "C-KEY-01"
    name = "strong-keys"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Algorithms.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, SigningKey]]:
        if isinstance(resource, SigningKey):
            yield "algorithm", resource

    def judge(self, resource: Resource, subject: SigningKey) -> Iterator[Fault]:
        if (found := known(subject.algorithm, "algorithm")) not in self.limits.algorithms:
            yield Fault(found, " or ".join(self.limits.algorithms), "another key, under another label")


class StrongHashes(Rule[SigningCertificate]):
    """No certificate of a key, and none over it, is signed with a hash that breaks."""

    control = "C-KEY-02"
    name = "strong-hashes"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Hashes.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, SigningCertificate]]:
        if isinstance(resource, SigningCertificate):
            yield "hashes", resource

    def judge(self, resource: Resource, subject: SigningCertificate) -> Iterator[Fault]:
        used = [one.signature_hash_algorithm for one in _chain(subject)]
        names = {one.name if one else "none" for one in used}
        if weak := names - set(self.limits.hashes):
            yield Fault(_listed(weak), " or ".join(self.limits.hashes), "another certificate of the authority")


class StampsAlone(Rule[SigningCertificate]):
    """The key of time-stamps is for them alone, and no other key is for them."""

    control = "C-TSA-03"
    name = "stamps-alone"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, SigningCertificate]]:
        if isinstance(resource, SigningCertificate):
            yield "usage", resource

    def judge(self, resource: Resource, subject: SigningCertificate) -> Iterator[Fault]:
        critical, usages = _extended(_chain(subject)[0])
        stamps = known(subject.token, "token") == TIME_STAMP
        if stamps and (not critical or usages != {ExtendedKeyUsageOID.TIME_STAMPING}):
            yield Fault("other usages too, or not critical", "timeStamping alone, critical", "another certificate")
        elif not stamps and ExtendedKeyUsageOID.TIME_STAMPING in usages:
            yield Fault("a certificate for time-stamps", f"it in the token {TIME_STAMP} alone", "another certificate")


def _chain(certificate: SigningCertificate) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(known(certificate.chain, "chain").encode())


def _extended(certificate: x509.Certificate) -> tuple[bool, set[x509.ObjectIdentifier]]:
    """Whether the extended usages are critical, and what they are."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False, set()
    return found.critical, set(found.value)


def _pins_of(path: str) -> str:
    """Whose PINs a path of a policy leads to: a machine's, or of many by a wildcard; empty: nobody's."""
    parts = path.split("/")
    for part, fixed in zip(parts, PINS, strict=False):
        if part.endswith("*"):
            return path if fixed.startswith(part[:-1]) else ""
        if part not in (fixed, "+"):
            return ""
    if len(parts) <= len(PINS):
        return ""
    return path if "+" in parts[: len(PINS)] else parts[len(PINS)]


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
