"""The power endpoint beside a twin: its process, its password, its certificate, and who its services are for."""

import secrets
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_interface
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from qhs import power, whole
from qhs.errors import UserError
from qhs.power import Service
from qhs.progress import Progress
from qhs.twin import guests, inside
from qhs.twin.names import Twin
from qhs.twin.topology import Machine, Operator, Topology

MODULE = "qhs.twin.redfish"
USER = "power"
PORT = 443
_UP_WITHIN = 15.0
_VALID = timedelta(days=365)


def password(twin: Twin) -> Path:
    return twin.endpoint / "password"


def certificate(twin: Twin) -> Path:
    return twin.endpoint / "certificate.pem"


def key(twin: Twin) -> Path:
    return twin.endpoint / "key.pem"


def address(operator: Operator) -> str:
    """Where an operator's machines are switched: the operator's first address."""
    return str(ip_interface(operator.addresses[0]).ip)


def service(twin: Twin, topology: Topology, machine: Machine) -> Service:
    """What switches a machine. Raises UserError for one without a management port."""
    bridges = {leg.bridge for leg in machine.legs}
    for operator in topology.operators:
        if operator.bridge in bridges:
            return Service(f"https://{address(operator)}:{PORT}", USER, password(twin), certificate(twin))
    way_out = f"qhs twin console {machine.name} -- systemctl poweroff; `qhs up` starts it"
    raise UserError(f"{machine.name} has no management port, so nobody reaches its power", way_out)


def ensure(twin: Twin, topology: Topology, progress: Progress) -> None:
    """Have the endpoint answer for every operator; start it, or anew, where it does not. Raises UserError."""
    probes = [machine for machine in topology.managed if machine.name in _one_each(topology)]
    if _answers(twin, topology, probes):
        return
    guests.end([twin.netns_path()], guests.runs_module(MODULE))
    twin.endpoint.mkdir(parents=True, exist_ok=True, mode=0o700)
    whole.write(password(twin), secrets.token_urlsafe(32), mode=0o600)
    certify(twin, [address(operator) for operator in topology.operators])
    log = twin.endpoint / "log"
    with log.open("ab") as said:
        process = subprocess.Popen(
            inside.command(twin, [sys.executable, "-m", MODULE, twin.name]),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    progress("power endpoint: started")
    deadline = time.monotonic() + _UP_WITHIN
    while not _answers(twin, topology, probes):
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text().strip().splitlines()[-1:]
            raise UserError(f"the power endpoint does not answer: {''.join(last)}", f"see {log}, then `qhs up`")
        time.sleep(0.1)


def forget(twin: Twin) -> None:
    shutil.rmtree(twin.endpoint, ignore_errors=True)


def _one_each(topology: Topology) -> set[str]:
    """A machine of each operator."""
    first: dict[str, str] = {}
    for machine in topology.managed:
        for leg in machine.legs:
            first.setdefault(leg.bridge, machine.name)
    return {first[operator.bridge] for operator in topology.operators if operator.bridge in first}


def _answers(twin: Twin, topology: Topology, machines: list[Machine]) -> bool:
    if not password(twin).is_file():
        return False
    services = [(service(twin, topology, machine), machine.name) for machine in machines]
    try:
        inside.call(twin.netns_path(), lambda: [power.is_on(*one) for one in services])
    except UserError:
        return False
    return True


def certify(twin: Twin, addresses: list[str]) -> None:
    """A key, and a certificate that it signs itself: whoever switches trusts this one and no other."""
    own = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"power of twin {twin.name}")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    signed = (
        x509.CertificateBuilder(name, name, own.public_key(), x509.random_serial_number(), now, now + _VALID)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(it)) for it in addresses]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        .sign(own, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    whole.write(key(twin), own.private_bytes(pem, *plain), mode=0o600)
    whole.write(certificate(twin), signed.public_bytes(pem), mode=0o600)
