"""C-NET-02: nothing is allowed that a reviewer cannot name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from policies.baseline import Baseline
from policies.facts import Flow, Guard, PacketRule, PlanFacts, Ruleset, Site
from policies.known import Maybe, Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """What counts as named."""

    denying: list[str]
    """Verdicts that let nothing in."""
    shortest: dict[int, int]
    """By IP version: a prefix shorter than this names nothing."""
    open_media: list[str]
    """Media whose ends nobody can name; then the interface must be named."""
    reply_states: list[str]
    own_interfaces: list[str]
    link_protocols: list[str]
    """Protocols without ports that stay on one link; their interface must be named."""
    link_icmp: list[str]
    """ICMP types that stay on one link."""


PAIR = "pair"

type Allowing = Flow | Guard | tuple[Flow, PacketRule] | Site
"""A flow, one of its rules, a guard, or a site, which must have a ruleset at all."""


class NoAny(Rule[Allowing]):
    """Every allow rule names source, destination, port, owner and until when; no rule is any to any.

    Each site has a firewall pair with a ruleset: where there is none, nothing is denied.

    That chains drop by default is a property of how rulesets are rendered, judged on the live machine.
    """

    control = "C-NET-02"
    name = "no-any"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Allowing]]:
        if isinstance(resource, Site):
            yield "firewall pair", resource
        if not isinstance(resource, Ruleset):
            return
        for position, guard in enumerate(known(resource.guards, "guards"), 1):
            yield f"guard {position}", known(guard, f"guards.{position}")
        for name, maybe in known(resource.flows, "flows").items():
            flow = known(maybe, f"flows.{name}")
            yield f"flow {name}", flow
            for position, rule in enumerate(known(flow.rules, f"flows.{name}.rules"), 1):
                yield f"flow {name}, rule {position}", (flow, known(rule, f"flows.{name}.rules.{position}"))

    def judge(self, resource: Resource, subject: Allowing) -> Iterator[Fault]:
        match subject:
            case Guard():
                yield from self._guard(subject)
            case Flow():
                yield from _answered_for(subject)
            case Site():
                yield from self._pair(subject)
            case (flow, rule):
                yield from self._rule(flow, rule)

    def _pair(self, site: Site) -> Iterator[Fault]:
        kinds = [known(one.kind, f"kind of {one.name}") for one in self.plan.each(Ruleset) if self._under(one, site)]
        if PAIR not in kinds:
            yield Fault("no ruleset of a firewall pair", "one beneath the site", "declare the rulesets of the site")

    def _under(self, resource: Resource, site: Site) -> bool:
        one: Resource | None = resource
        while one is not None and one.urn != site.urn:
            one = self.plan.by_urn.get(one.parent or "")
        return one is not None

    def _rule(self, flow: Flow, rule: PacketRule) -> Iterator[Fault]:
        if self._denies(rule):
            return
        from_any = self._any(known(rule.sources, "sources"))
        to_any = self._any(known(rule.destinations, "destinations"))
        if from_any and to_any:
            yield Fault("any to any", "a named source and destination", "narrow the flow's places")
        elif from_any and not self._open(flow.sources, rule.iif):
            yield Fault("any source", "prefixes, or an open network by its interface", "narrow the flow's source")
        elif to_any and not self._open(flow.destinations, rule.oif or rule.iif):
            yield Fault("any destination", "prefixes, or an open network by its interface", "narrow its destination")
        yield from _port(rule)

    def _guard(self, guard: Guard) -> Iterator[Fault]:
        rule = known(guard.rule, "rule")
        if not self._denies(rule) and not any(self._harmless(rule)):
            yield Fault(
                f"guard {known(guard.name, 'name')} lets new conversations in",
                "replies, the own loopback, link protocols, or a named other end, its interface or an own address, and "
                "a port",
                "narrow the guard, or make it a flow with an owner",
            )

    def _denies(self, rule: PacketRule) -> bool:
        return known(rule.verdict, "verdict") in self.limits.denying

    def _harmless(self, rule: PacketRule) -> Iterator[bool]:
        limits = self.limits
        iif, oif = known(rule.iif, "iif"), known(rule.oif, "oif")
        protocol, ports = known(rule.protocol, "protocol"), known(rule.ports, "ports")
        yield _within(known(rule.states, "states"), limits.reply_states)
        yield (iif or oif) in limits.own_interfaces
        yield protocol in limits.link_protocols and bool(iif or oif)
        yield protocol.startswith("icmp") and _within(known(rule.icmp_types, "icmpTypes"), limits.link_icmp)
        # On its way in a packet's destination is the machine itself, on its way out its source; on its way through
        # either would be anything.
        chain, one_port = known(rule.chain, "chain"), bool(ports and protocol)
        own = bool(iif) or not self._any(known(rule.destinations, "destinations"))
        yield chain == "input" and one_port and own and not self._any(known(rule.sources, "sources"))
        yield chain == "output" and one_port and bool(oif) and not self._any(known(rule.destinations, "destinations"))

    def _open(self, places: Maybe[tuple[str, ...]], interface: Maybe[str]) -> bool:
        media = {self.plan.medium(place) for place in known(places, "places")}
        return bool(known(interface, "interface")) and not media.isdisjoint(self.limits.open_media)

    def _any(self, prefixes: Iterable[str]) -> bool:
        networks = [ip_network(prefix) for prefix in prefixes]
        return not networks or any(one.prefixlen < self.limits.shortest[one.version] for one in networks)


def _answered_for(flow: Flow) -> Iterator[Fault]:
    if not known(flow.owner, "owner"):
        yield Fault("no owner", "an owner", "name the post or unit that answers for the flow")
    if known(flow.review, "review") is None and known(flow.expires, "expires") is None:
        yield Fault("neither expires nor review", "a date", "give the flow `expires`, or `review` if it stays")
    for end, places in (("source", flow.sources), ("destination", flow.destinations)):
        if not known(places, f"{end}s"):
            yield Fault(f"no {end}", f"the place of its {end}", "name a zone, an external network or a partner")


def _port(rule: PacketRule) -> Iterator[Fault]:
    protocol = known(rule.protocol, "protocol")
    if not protocol:
        yield Fault("any protocol", "a protocol and a port", "name the service's ports")
    elif not known(rule.ports, "ports") and not known(rule.icmp_types, "icmpTypes"):
        yield Fault(f"{protocol} without port", "a port or an ICMP type", "name the service's ports")


def _within(found: Iterable[str], allowed: Iterable[str]) -> bool:
    return bool(found) and set(found) <= set(allowed)
