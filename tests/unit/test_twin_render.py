"""What is written on a machine's disk."""

from configparser import RawConfigParser

from qhs.twin import names, render
from qhs.twin.topology import Leg, Machine, Route

LEG = Leg(interface="app", bridge="app", addresses=("10.0.1.2/24", "fd00:1::2/64"))
OTHER = Leg(interface="data", bridge="data", addresses=("10.0.2.2/24",))
MACHINE = Machine(
    name="qhdc-app-1",
    site="qhdc",
    legs=(LEG, OTHER),
    routes=(Route(destination="0.0.0.0/0", via="10.0.1.1"), Route(destination="::/0", via="fd00:1::1")),
    sysctl={"net.ipv4.ip_forward": "1"},
)


def test_a_leg_is_static_and_deaf_to_routers() -> None:
    text = render.network(MACHINE, LEG)
    assert "Name=app\n" in text
    assert "IPv6AcceptRA=no\n" in text
    assert "[Address]\nAddress=10.0.1.2/24\n\n" in text
    assert "[Address]\nAddress=fd00:1::2/64\nDuplicateAddressDetection=none\n" in text


def test_a_route_is_on_the_leg_of_its_gateway_alone() -> None:
    assert "[Route]\nDestination=0.0.0.0/0\nGateway=10.0.1.1\n" in render.network(MACHINE, LEG)
    assert "[Route]\nDestination=::/0\nGateway=fd00:1::1\n" in render.network(MACHINE, LEG)
    assert "[Route]" not in render.network(MACHINE, OTHER)


def test_identity_gives_each_machine_its_own() -> None:
    files = render.identity("twin", MACHINE, "ssh-ed25519 AAAA\n", "PRIVATE\n")
    assert files["/etc/hostname"].content == "qhdc-app-1\n"
    assert files["/etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert files["/etc/ssh/authorized_keys.d/qhs"].content == "ssh-ed25519 AAAA\n"
    assert files["/etc/sysctl.d/60-machine.conf"].content == "net.ipv4.ip_forward = 1\n"
    other = render.identity("twin", MACHINE.model_copy(update={"name": "qhdc-app-2"}), "", "")
    assert len(files["/etc/machine-id"].content) == 33
    assert files["/etc/machine-id"] != other["/etc/machine-id"]


def test_each_leg_has_a_file_that_a_parser_reads() -> None:
    files = render.identity("twin", MACHINE, "", "")
    read = RawConfigParser(strict=False)
    read.read_string(files["/etc/systemd/network/11-data.network"].content)
    assert read["Match"]["Name"] == "data"
    assert read["Address"]["Address"] == "10.0.2.2/24"


def test_a_machine_that_runs_containers_alone_is_lent_what_they_need() -> None:
    own = render.identity("twin", MACHINE.model_copy(update={"containers": True}), "", "")
    other = render.identity("twin", MACHINE, "", "")
    assert own.keys() - other.keys() == {
        "/usr/local/sbin/qhs-lend",
        "/etc/systemd/system/containerd.service.d/10-lend.conf",
    }
    assert own["/usr/local/sbin/qhs-lend"].mode == 0o755


def test_port_names_fit_and_differ() -> None:
    ports = {names.port(f"qhdc-machine-{number}", f"interface-{leg}") for number in range(30) for leg in range(30)}
    assert len(ports) == 900
    assert max(map(len, ports)) <= 15
