"""The address plan, as arithmetic: the only place where a prefix or an address is made.

A site's IPv4 prefix (a /14) is cut into /20 segments and its IPv6 prefix (a /48) into /64, both by the zone's
index. In a segment the first 256 addresses are the network's own (gateway, firewalls, service addresses), the
next 1,024 the machines', the rest users' devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

SEGMENT_LENGTH = {4: 20, 6: 64}
PARTNER_LENGTH = {4: 24, 6: 64}
PAIR_LENGTH = {4: 28, 6: 124}
CLUSTER_INDEX, CLUSTER_LENGTH = 63, 112  # of no zone; the length in IPv6
GATEWAY = 1
FIREWALL = 1  # members are .2 and .3: FIREWALL + 1, FIREWALL + 2
SERVICE = 16
MACHINE = 256
CLIENT = 1280
PARTNER_HOST = 16

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Pair:
    """The same thing in both families."""

    ipv4: Network
    ipv6: Network

    @property
    def both(self) -> tuple[Network, Network]:
        return self.ipv4, self.ipv6

    def texts(self) -> list[str]:
        """As written in rules: single addresses without their length."""
        return [text(network) for network in self.both]


@cache  # rules by the thousand are between the same few networks
def text(network: Network) -> str:
    """A single address without its length, a prefix with it."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def segment(site: Pair, index: int) -> Pair:
    """The prefix of the zone with this index at a site."""
    return _cut(site, index, SEGMENT_LENGTH)


def cluster(site: Pair) -> Pair:
    """What the services inside the cluster of a site have: addresses of no segment, known to its machines alone.

    Of IPv6 no more than an API server gives out.
    """
    whole = segment(site, CLUSTER_INDEX)
    return Pair(whole.ipv4, ip_network(f"{whole.ipv6.network_address}/{CLUSTER_LENGTH}"))


def partner(external: Pair, index: int) -> Pair:
    """The prefix of the partner with this index in an external network."""
    return _cut(external, index, PARTNER_LENGTH)


def pair(external: Pair, index: int) -> Pair:
    """The prefix of the firewall pair of the site with this index in an external network."""
    return _cut(external, index, PAIR_LENGTH)


def host(prefix: Pair, offset: int) -> Pair:
    """One address of a prefix, in both families, as /32 and /128."""
    return Pair(*(ip_network(network.network_address + offset) for network in prefix.both))


def with_length(address: Pair, prefix: Pair) -> list[str]:
    """Interface addresses: the address with the length of its segment."""
    return [f"{one.network_address}/{net.prefixlen}" for one, net in zip(address.both, prefix.both, strict=True)]


def _cut(network: Pair, index: int, lengths: dict[int, int]) -> Pair:
    return Pair(*(_nth(part, index, lengths[part.version]) for part in network.both))


def _nth(network: Network, index: int, length: int) -> Network:
    size = 1 << (network.max_prefixlen - length)
    if index >= 1 << (length - network.prefixlen):
        raise ValueError(f"index {index} does not fit: {network} holds {1 << (length - network.prefixlen)}")
    return ip_network((int(network.network_address) + index * size, length))
