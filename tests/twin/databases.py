"""The databases of the suite's twin, as applications and as who administers them."""

from __future__ import annotations

import shlex
from pathlib import Path

import psycopg

from qhs import pki
from qhs.twin import boot
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.certificates import service_name
from stacks.model.data import SERVICE
from stacks.model.estate import DATABASE
from tests.twin.hosts import Hosts

ESTATE = load("twin")
SITES = ("qhdc", "ndc")
MEMBERS = {site: [one.name for one in ESTATE.with_role(site, DATABASE)] for site in SITES}
SQL = "sudo -u postgres psql -h /run/qhs-database -AtX -v ON_ERROR_STOP=1"


def told(hosts: Hosts, members: list[str], statement: str, database: str = "postgres") -> dict[str, str]:
    """What each member answers to a statement; nothing where it does not take it."""
    asked = f"{SQL} -d {database} -c {shlex.quote(statement)} || true"
    return {name: said.strip() for name, said in hosts.say(asked, members).items()}


def leader(hosts: Hosts, site: str) -> str:
    (found,) = [name for name, said in told(hosts, MEMBERS[site], "select pg_is_in_recovery()").items() if said == "f"]
    return found


def address(site: str) -> str:
    return next(one.targets[0].texts()[0] for one in ESTATE.served(site) if one.service == SERVICE)


def connect(twin: Twin, site: str, password: str, **other: str) -> psycopg.Connection[tuple[int]]:
    """As an application; for whoever is in the right namespace already."""
    given = {
        "host": service_name(ESTATE, SERVICE, site),
        "hostaddr": address(site),
        "user": "probe",
        "password": password,
        "dbname": "probe",
        "sslmode": "verify-full",
        "sslrootcert": str(pki.folder(twin) / "root.crt"),
        "connect_timeout": "2",
        "tcp_user_timeout": "2000",
    }
    return psycopg.connect(**given | other, autocommit=True)


def where(twin: Twin, site: str) -> Path:
    return Path(f"/proc/{boot.group(twin, f'{site}-app1').init()}/ns/net")
