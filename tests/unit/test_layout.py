"""The twin's topology and Ansible's inventory say what the estate says."""

from ipaddress import ip_interface

from qhs.inventory import inventory
from qhs.layout import bridge, client_address, topology, wired
from stacks.model import load


def test_every_machine_has_the_addresses_of_the_estate() -> None:
    estate = load("twin")
    built = {machine.name: machine for machine in topology(estate).managed}
    assert built.keys() == estate.machines.keys()
    for host in estate.machines.values():
        for port, leg in zip(wired(host), built[host.name].legs, strict=True):
            assert leg.interface == port.name
            assert leg.addresses[:2] == port.cidrs


def test_a_machine_holds_the_address_of_its_service_where_it_does_not_move() -> None:
    estate = load("twin")
    held = {address for m in topology(estate).machines for leg in m.legs for address in leg.addresses}
    for host in estate.machines.values():
        for service in host.services:
            own = {str(network) for target in service.targets for network in target.both}
            assert own & held == (set() if service in host.moving else own)


def test_management_ports_are_isolated_but_the_bastions_which_lead_to_them_and_no_others() -> None:
    for machine in topology(load("twin")).machines:
        for leg in machine.legs:
            assert leg.isolated == (leg.bridge.endswith("-mgmt-ports") and "bastion" not in machine.roles)


def test_the_enclave_stands_beside_the_estate_on_a_bridge_of_its_own() -> None:
    whole = topology(load("twin"))
    isles = [machine for machine in whole.machines if machine.island]
    assert isles
    wires = {leg.bridge for machine in isles for leg in machine.legs}
    assert wires == {"1-secret"}
    assert not wires & {leg.bridge for place in (*whole.managed, *whole.clients) for leg in place.legs}
    assert not wires & {operator.bridge for operator in whole.operators}


def test_the_sites_are_joined_by_their_carriers_and_by_nothing_else() -> None:
    whole = topology(load("twin"))
    sites: dict[str, set[str]] = {}
    for machine in whole.machines:
        for leg in machine.legs:
            sites.setdefault(leg.bridge, set()).add(machine.site)
    shared = {bridge for bridge, found in sites.items() if len(found) > 1}
    assert shared == {*whole.between, "internet", "tslcd", "branch"}
    assert sites["carrier-a"] == sites["carrier-b"] == {"qhdc", "ndc", "hall"}


def test_every_bridge_name_fits_the_kernel() -> None:
    estate = load("prod")
    assert all(len(bridge(estate, place.name if place.site else place.leg)) <= 15 for place in estate.places.values())


def test_a_client_stands_in_its_place() -> None:
    estate = load("twin")
    for name, client in estate.inventory.clients.items():
        place = estate.places[client.place]
        prefix = place.sample or place.prefix
        assert client_address(estate, name).ipv4.subnet_of(prefix.ipv4)  # type: ignore[arg-type]  # one family


def test_the_members_of_a_pair_share_each_gateway() -> None:
    estate = load("twin")
    variables = inventory(estate)["_meta"]["hostvars"]
    first, second = (variables[name] for name in estate.firewalls("qhdc"))
    assert first["qhs_legs"] == second["qhs_legs"]
    assert first["qhs_pair"] == second["qhs_pair"]
    assert [address in one["qhs_own_addresses"] for one in (first, second) for address in one["qhs_pair"].values()] == [
        *(True, False),
        *(False, True),
    ]
    gateways = [ip_interface(g).ip for leg in first["qhs_legs"] for g in leg["gateways"]]
    assert len(gateways) == len(set(gateways))


def test_every_machine_is_in_the_groups_of_its_site_and_roles() -> None:
    estate = load("prod")
    found = inventory(estate)
    for host in estate.machines.values():
        for group in (f"site_{host.site}", *(f"role_{role.replace('-', '_')}" for role in host.roles)):
            assert host.name in found[group]["hosts"]
