"""The names of three sites as the roles `dns` and `active_names` have them: genuine servers beside the lease."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.kernel.clusters import Member, program, rendered
from tests.twin.waiting import await_

DOMAIN, SERVICE = "qhs.internal", "svc.qhs.internal"
NAME = f"postgres.{SERVICE}"
MAY = ("qhdc", "ndc")
"""The sites that may have the lease."""
FOLLOWS = "usr/local/lib/qhs-active-names/qhs_active_names.py"
REFUSED = "SERVFAIL"
KNOT = ("keys.conf", "knot.conf", "zones/estate.zone", "zones/site.zone")


class NameServer:
    """The authority and the resolver of a site, on the machine of a member of the lease's store."""

    def __init__(self, member: Member, number: int, seconds: int) -> None:
        self.member, self.site = member, member.name.removesuffix("-infra1")
        self.resolver, self.authority = member.address, f"10.16.0.{100 + number}"
        self.leads = f"192.0.2.{number}"
        """Where the site's own name leads."""
        self._knotd: subprocess.Popen[bytes] | None = None
        self._unbound: subprocess.Popen[bytes] | None = None
        self._follower: subprocess.Popen[bytes] | None = None
        self._enter("ip", "address", "add", f"{self.authority}/24", "dev", "eth0")
        self._configure(seconds)

    def _configure(self, seconds: int) -> None:
        root, sites = self.member.root, ("qhdc", "ndc", "hall")
        key = base64.b64encode(bytes(32)).decode()
        known = {one: {"name": f"{one}-infra1.ns", "addresses": [f"10.16.0.{101 + n}"]} for n, one in enumerate(sites)}
        given = {
            "qhs_domain": DOMAIN, "qhs_site": self.site, "dns_records": {}, "dns_authorities": known,
            "dns_updates": "127.0.0.53", "dns_update_key": key, "dns_resolver": [self.resolver],
            "dns_service_domain": SERVICE, "dns_service_sites": list(MAY),
        }  # fmt: skip
        for file in (*(f"etc/knot/{one}" for one in KNOT), "etc/unbound/unbound.conf.d/qhs.conf"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(rendered("dns", file, **given))
        with (root / "etc/knot/zones/site.zone").open("a") as zone:  # else a Pulumi stack's
            zone.write(f"postgres A {self.leads}\n")
        for folder in ("run/knot", "run/qhs-active-names"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "etc/unbound/unbound.conf").write_text(
            'server:\n chroot: ""\n username: ""\n use-syslog: no\n do-daemonize: no\n pidfile: ""\n'
            'include-toplevel: "/etc/unbound/unbound.conf.d/qhs.conf"\n'
        )
        if self.site in MAY:
            program(root, "active_names", FOLLOWS)
            own = {"name": known[self.site]["name"], "address": self.authority}
            names = {
                "qhs_domain": DOMAIN, "qhs_site": self.site, "active_names_domain": SERVICE, "active_names_ttl": 5,
                "active_names_labels": ["postgres"], "active_names_seconds": seconds, "active_names_authority": own,
            }  # fmt: skip
            for file in ("etc/qhs/active-names/names.json", "etc/qhs/active-names/zone"):
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                (root / file).write_text(rendered("active_names", file, **names))

    def start(self) -> None:
        self.begin_authority()
        self._unbound = self._spawn("/usr/sbin/unbound", "-c", "/etc/unbound/unbound.conf")
        self.follow()

    def begin_authority(self) -> None:
        self._knotd = self._spawn("/usr/sbin/knotd", "-c", "/etc/knot/knot.conf")

    def end_authority(self) -> None:
        if self._knotd:
            self._knotd.terminate()
            self._knotd.wait()

    def follow(self) -> None:
        """As its unit does."""
        if self.site in MAY:
            self._follower = self._spawn(f"/{FOLLOWS}", "follow")

    def end_following(self) -> None:
        """As its unit does where the program was killed."""
        if self._follower:
            self._follower.kill()
            self._follower.wait()
            self._follower = None
            assert self.member.runs(f"/{FOLLOWS}", "refuse") == (0, "")

    def stop(self) -> None:
        for one in (self._follower, self._unbound, self._knotd):
            if one:
                one.kill()
                one.wait()

    def answers(self, name: str = NAME) -> str:
        """Of the authority, asked on its own machine: the alias, or why there is none."""
        return self._ask(self.authority, name, "+norec", "CNAME")

    def resolves(self, name: str = NAME) -> str:
        """Of the resolver, asked on its own machine: the address, or why there is none."""
        return self._ask(self.resolver, name, "A")

    def seconds(self) -> int:
        """For which the resolver has its clients believe it."""
        lines = self._dig(self.resolver, NAME, "+noall", "+answer").splitlines()
        return min(int(line.split()[1]) for line in lines)

    def _ask(self, server: str, *words: str) -> str:
        short = self._dig(server, "+short", *words).split()
        if short and not short[0].startswith(";;"):
            return short[-1]
        return next((one for one in ("SERVFAIL", "NXDOMAIN", "NOERROR") if one in self._dig(server, *words)), "")

    def _dig(self, server: str, *words: str) -> str:
        return self.member.runs("/usr/bin/kdig", f"@{server}", "+retry=0", "+timeout=8", *words)[1]

    def _enter(self, *words: str) -> None:
        subprocess.run(["nsenter", f"--net={self.member.network}", *words], check=True)

    def _spawn(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.member.root / "var/log/names.log").open("ab") as log:
            return subprocess.Popen(self.member.within(*words), stdout=log, stderr=log)


@contextmanager
def named(members: dict[str, Member], seconds: int) -> Iterator[dict[str, NameServer]]:
    """Beside each member; the last word of a majority is good for so many seconds."""
    found = {one.name.removesuffix("-infra1"): NameServer(one, n, seconds) for n, one in enumerate(members.values(), 1)}
    with ExitStack() as stack:
        for one in found.values():
            stack.callback(one.stop)
            one.start()
        for site, one in found.items():
            asked = f"postgres.{site}.{DOMAIN}"
            await_(lambda asked=asked, leads=one.leads: {it.resolves(asked) for it in found.values()} == {leads}, 60)
        yield found
