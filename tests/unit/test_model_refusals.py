"""What cannot be right is refused with file, line, what was found and what is wanted. One change, one message."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from catalogue_copy import Copy


class Case(NamedTuple):
    """One change to one file, and all that must be said about it."""

    file: str
    after: str
    """The line below which the change is made."""
    old: str
    new: str
    at: str
    """Words of the line that the message must name, at or below `after`."""
    says: str


PARTNER = (
    "gpu: { via: tslcd, index: 99, state_body: true, title: { vi: a, en: b }, owner: vpqh-cntt, serves: [S-081] }\n"
)

CASES = {
    # --- prefixes and addresses ---
    "sites overlap": Case(
        "estate.yaml", "  ndc:", "10.68.0.0/14", "10.64.0.0/14", "ipv4: 10.64",
        "site ndc overlaps with 10.64.0.0/14; wanted a prefix apart from site qhdc's 10.64.0.0/14 (C-NET-16)",
    ),
    "sites overlap in IPv6": Case(
        "estate.yaml", "  hall:", "fd51:e41:3::/48", "fd51:e41:2::/48", "ipv6:",
        "site hall overlaps with fd51:e41:2::/48; wanted a prefix apart from site ndc's fd51:e41:2::/48 (C-NET-16)",
    ),
    "a network overlaps with a site": Case(
        "estate.yaml", "  dci:", "10.250.0.0/16", "10.70.0.0/16", "dci:",
        "network dci overlaps with 10.70.0.0/16; wanted a prefix apart from site ndc's 10.68.0.0/14 (C-NET-16)",
    ),
    "a carrier's network overlaps with another": Case(
        "estate.yaml", "  carrier-b:", "10.252.0.0/16", "10.250.0.0/16", "carrier-b:",
        "carrier carrier-b overlaps with 10.250.0.0/16; wanted a prefix apart from network dci's 10.250.0.0/16 "
        "(C-NET-16)",
    ),
    "a prefix that does not hold the plan": Case(
        "estate.yaml", "  hall:", "10.72.0.0/14", "10.72.0.0/16", "hall:", "wanted an IPv4 /14 and an IPv6 /48",
    ),
    "a prefix with host bits": Case(
        "estate.yaml", "  hall:", "10.72.0.0/14", "10.73.0.0/14", "ipv4:",
        "sites.hall.ipv4 = '10.73.0.0/14'; wanted Input is not a valid IPv4 network",
    ),
    "two machines at one address": Case(
        "estate.yaml", "      infra-b:", "number: 184", "number: 180", "number: 180",
        "qhdc-infra-b1 and qhdc-infra1 at 10.65.49.180; wanted numbers of their own",
    ),
    # --- a pair without a member ---
    "a site degraded for too long": Case(
        "estate.yaml", "  hall:", "    racks:", "    degraded: { until: 2026-12-05T00:00:00Z, reason: x }\n    racks:",
        "degraded:", "site hall degraded until 05/12/2026 00:00 UTC; wanted at most 3 days from now",
    ),
    "a site degraded for no reason": Case(
        "estate.yaml", "  hall:", "    racks:", "    degraded: { until: 2026-11-26T00:00:00Z }\n    racks:",
        "degraded:", "no sites.hall.degraded.reason; wanted one: it is required",
    ),
    # --- indexes and numbers ---
    "an index that is taken": Case(
        "zones.yaml", "gpu:", "index: 20", "index: 4", "index: 4",
        "index 4 of gpu is taken by app; wanted a free one",
    ),
    "an index outside the plan": Case(
        "zones.yaml", "gpu:", "index: 20", "index: 63", "index: 63",
        "zones.gpu.index = 63; wanted Input should be less than or equal to 62",
    ),
    "a partner's index that is taken": Case(
        "partners.yaml", "court:", "index: 13", "index: 12", "index: 12",
        "index 12 of court is taken by procuracy; wanted a free one",
    ),
    "a service's number that is taken": Case(
        "services.yaml", "ballot-db:", "number: 2", "number: 1", "number: 1",
        "number 1 of ballot-db is taken by postgres; wanted a free one",
    ),
    "a number without an address": Case(
        "services.yaml", "hsm:", "on: machines", "number: 9\n  on: machines", "hsm:",
        "wanted a number with on: address, and none otherwise",
    ),
    "what moves without an address": Case(
        "services.yaml", "hsm:", "on: machines", "on: machines\n  moves: true", "hsm:",
        "wanted on: address where it moves",
    ),
    # --- names ---
    "a key twice": Case(
        "zones.yaml", "gpu:", "gpu:", "app:", "app:", "app twice (first catalogue/zones.yaml:70); wanted it once",
    ),
    "a misspelt key": Case(
        "zones.yaml", "gpu:", "level: 4", "level: 4\n  colour: red", "colour",
        "zones.gpu.colour = 'red'; wanted Extra inputs are not permitted",
    ),
    "a name for two things": Case(
        "partners.yaml", "court:", "court:", f"{PARTNER}court:", "gpu:",
        "gpu in zones and in partners; wanted names that differ",
    ),
    "a zone that names no interface": Case(
        "zones.yaml", "gpu:", "gpu:", "gpu-at-the-centre:", "gpu-at-the-centre:",
        "the key zones.gpu-at-the-centre; wanted String should match pattern '^[a-z][a-z0-9-]{1,11}$'",
    ),
    "an unknown zone": Case(
        "flows.yaml", "proxy-to-web:", "source: [egress]", "source: [egres]", "source: [egres]",
        "unknown zone or partner egres; wanted one of analytics, app, backup, branch, cipher-committee-ca, control, "
        "court, cyber-security-agency, data, data-exchange, dci, delegation-office and 41 more",
    ),
    "an unknown service": Case(
        "flows.yaml", "app-to-lake:", "to: [lake-query]", "to: [lake]", "to: [lake]",
        "unknown service lake; wanted one of agency-feed, api-bus, backup-store, ballot-db, ballot-ingress, bastion, "
        "database-quorum, duty-ca, enclave, endpoint-defence, exchange-gateway, foreign-gateway and 51 more",
    ),
    "an unknown owner": Case(
        "partners.yaml", "court:", "owner: vpqh-cntt", "owner: vpqh-cnt", "owner: vpqh-cnt",
        "unknown owner vpqh-cnt; wanted one of ban-cong-tac-dai-bieu, ban-dan-nguyen, bo-phan-bau-cu, chu-nhiem-vpqh, "
        "hoi-dong-uy-ban, pho-chu-nhiem-vpqh, thuong-truc-hoi-dong-uy-ban, truong-ban-ctdb, truong-ban-dan-nguyen, "
        "vpqh-attt, vpqh-cntt, vpqh-doi-ngoai and 5 more",
    ),
    "an unknown site of a tenant": Case(
        "tenants.yaml", "chuoi-khoi:", "sites: [qhdc]", "sites: [ndc]", "sites: [ndc]",
        "unknown site of pilot ndc; wanted one of qhdc",
    ),
    "an unknown carrier": Case(
        "estate.yaml", "  hall:", "carrier-b", "carrier-c", "carriers:",
        "unknown carrier carrier-c; wanted one of carrier-a, carrier-b",
    ),
    "one carrier twice": Case(
        "estate.yaml", "  hall:", "carrier-b", "carrier-a", "hall:", "wanted carriers that differ (C-NET-06)",
    ),
    # --- flows ---
    "a flow to nowhere": Case(
        "flows.yaml", "session-to-applications:", "scope: cross", "scope: site", "session-to-applications:",
        "flow session-to-applications leads nowhere; wanted a source and a service that its scope and sites bring "
        "together",
    ),
    "a flow into an island": Case(
        "flows.yaml", "enclave-inside:", "source: [secret]", "source: [secret, app]", "enclave-inside:",
        "flow enclave-inside across the edge of secret (firewall: none); wanted no flow where nothing is forwarded",
    ),
    "a way out to nothing that has a name": Case(
        "flows.yaml", "servers-to-web:", "destinations: [khonggianmang.vn]", "destinations: []", "servers-to-web:",
        "0 destinations of flow servers-to-web to web-proxy; wanted some for services that lead out, and none for "
        "others (C-NET-15)",
    ),
    "a destination of a flow that leads to us": Case(
        "flows.yaml", "app-to-lake:", "to: [lake-query]", "to: [lake-query]\n  destinations: [x.vn]", "app-to-lake:",
        "1 destinations of flow app-to-lake to lake-query; wanted some for services that lead out, and none for "
        "others (C-NET-15)",
    ),
    "a flow that only half breaks the chain": Case(
        "flows.yaml", "app-to-lake:", "to: [lake-query]", "to: [lake-query, ingress]", "to: [lake-query, ingress]",
        "services that break the chain and others; wanted two flows",
    ),
    "an expiry without its time zone": Case(
        "flows.yaml", "vendor-to-pam:", "17:00:00Z", "17:00:00", "expires:",
        "flows.vendor-to-pam.expires = datetime.datetime(2027, 3, 31, 17, 0); wanted Input should have timezone info",
    ),
    # --- machines ---
    "a host in no rack": Case(
        "estate.yaml", "      edge:", "racks: [a1, b1]", "racks: []", "racks: []",
        "qhdc-edge1 in no rack; wanted a rack of the site",
    ),
    "a host in an unknown rack": Case(
        "estate.yaml", "      edge:", "racks: [a1, b1]", "racks: [a1, c1]", "racks: [a1, c1]",
        "unknown rack c1; wanted one of a1, a2, a3, b1, b2, b3",
    ),
    "a host without a zone": Case(
        "estate.yaml", "      edge:", "        zone: dmz-public\n", "", "edge:",
        "qhdc-edge1 without a zone; wanted the zone that it stands in",
    ),
    "a managed host on the island": Case(
        "estate.yaml", "      wlan:", "zone: wireless", "zone: secret", "zone: secret",
        "qhdc-wlan1 in the island secret; wanted no managed machine: a management port would join it to other networks "
        "(C-SEC-01)",
    ),
    "a service held in another zone": Case(
        "estate.yaml", "      mirror:", "services: [mirror]", "services: [mirror, siem]", "services: [mirror, siem]",
        "siem on qhdc-mirror1; wanted a service of the machine's own zone",
    ),
    # --- tenants ---
    "a tenant without owner": Case(
        "tenants.yaml", "hscb:", "  owner: vpqh-nhan-su\n", "", "hscb:",
        "no tenants.hscb.owner; wanted one: it is required",
    ),
    "a tenant without level": Case(
        "tenants.yaml", "hscb:", "  level: 4\n", "", "hscb:", "no tenants.hscb.level; wanted one: it is required",
    ),
    "a tenant without tier": Case(
        "tenants.yaml", "hscb:", "  tier: 3\n", "", "hscb:", "no tenants.hscb.tier; wanted one: it is required",
    ),
    "a level that does not exist": Case(
        "tenants.yaml", "hscb:", "level: 4", "level: 6", "level: 6",
        "tenants.hscb.level = 6; wanted Input should be less than or equal to 5",
    ),
    "a tenant of tier 1 without a replica": Case(
        "tenants.yaml", "bau-cu:", "sites: [qhdc, ndc]", "sites: [qhdc]", "sites: [qhdc]",
        "bau-cu of tier 1 only at qhdc; wanted a replica at ndc",
    ),
    "a tenant of tier 2 without a replica": Case(
        "tenants.yaml", "mail:", "sites: [qhdc, ndc]", "sites: [qhdc]", "sites: [qhdc]",
        "mail of tier 2 only at qhdc; wanted a replica at ndc",
    ),
    "a database of two tenants": Case(
        "tenants.yaml", "hscb:", "databases: [ho-so-can-bo]", "databases: [mail]", "databases: [mail]",
        "mail of hscb belongs to mail; wanted one tenant for each (C-EXC-02)",
    ),
    "a bucket that the estate has itself": Case(
        "tenants.yaml", "mail:", "buckets: [hop-thu]", "buckets: [pulumi-states]", "buckets: [pulumi-states]",
        "pulumi-states of mail belongs to the estate itself; wanted one tenant for each (C-EXC-02)",
    ),
    "a tenant by the name of who makes buckets": Case(
        "tenants.yaml", "mail:", "mail:", "provisioner:", "provisioner:",
        "a tenant provisioner, which is the estate itself; wanted another name",
    ),
    "an archive that is no bucket": Case(
        "tenants.yaml", "mail:", "buckets: [hop-thu]", "buckets: [hop-thu]\n  archives: [thu]", "mail:",
        "wanted archives among its buckets; thu is none of them",
    ),
    "a state secret without its grade": Case(
        "tenants.yaml", "tai-lieu-mat:", "  grade: tuyet-mat\n", "", "tai-lieu-mat:",
        "wanted a grade with information: state-secret, and none otherwise (C-LVL-02)",
    ),
    "a state secret in a database with a network": Case(
        "tenants.yaml", "tai-lieu-mat:", "  tier: 3\n", "  tier: 3\n  databases: [mat]\n", "tai-lieu-mat:",
        "wanted no databases and buckets with information: state-secret: all have a network (C-SEC-01)",
    ),
    "a burst without its window": Case(
        "tenants.yaml", "hscb:", "storage_gib: 300", "storage_gib: 300, burst: 2.0", "hscb:",
        "wanted burst_windows with a burst over 1, and none otherwise",
    ),
    "a window that ends before it begins": Case(
        "tenants.yaml", "bau-cu:", "last: 2031-06-30", "last: 2030-06-30", "last: 2030-06-30",
        "wanted last on or after first",
    ),
    "recovery later than bearable": Case(
        "tiers.yaml", "3:", "rto_minutes: 480", "rto_minutes: 4800", "3:",
        "wanted rto_minutes <= mtd_minutes (C-DR-04)",
    ),
    # --- prod is whole ---
    "a limit in prod": Case(
        "estate.yaml", "environment: prod", "environment: prod",
        "environment: prod\nlimits: { no-x: { what: a, why: b, instead: c } }", "environment: prod",
        "wanted no limits and no clients in prod: they belong to the twin",
    ),
    "a site of prod that follows a machine's own clock": Case(
        "estate.yaml", "environment: prod", "clock: PHC /dev/ptp0", "clock: host", "environment: prod",
        "wanted a reference clock at every site of prod: qhdc would follow a machine's own",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_one_change_is_refused_with_its_place(tmp_path: Path, case: Case) -> None:
    copy = Copy.make(tmp_path)
    changed = copy.change(case.file, case.after, case.old, case.new)
    where = f"{copy.path(case.file).relative_to(tmp_path)}:{copy.line(case.file, changed, case.at)}: found "
    findings = copy.findings()
    assert [one for one in findings if not one.startswith(where)] == []
    assert any(
        one.endswith(case.says) if case.says.startswith("wanted") else one == where + case.says for one in findings
    )


def test_two_services_on_one_port_of_one_host(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path)
    copy.change("services.yaml", "database-quorum:", "tcp/2381-2382", "tcp/2380-2381")
    says = "found database-quorum and lease-peer on tcp/2379-2380 of {}-infra1; wanted one service a port"
    assert copy.findings() == [
        f"estate.yaml:{copy.line('estate.yaml', f'  {site}:', 'services: [names, time')}: {says.format(site)}"
        for site in ("qhdc", "ndc")
    ]


def test_more_delegation_offices_than_prefixes(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path)
    copy.change("partners.yaml", "delegation-office:", "index: 1", "index: 200")
    copy.change("estate.yaml", "delegation_offices", "34", "57")
    line = copy.line("partners.yaml", "delegation-office:", "index:")
    wanted = "at most 255: its network has no more prefixes"
    assert copy.findings() == [f"catalogue/partners.yaml:{line}: found index 256 of delegation-office; wanted {wanted}"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("app: [", "did not find expected node content"),
        ("? { a: b }\n: c", "found a key that is a mapping; wanted a word"),
        ("app: !secret x", "could not determine a constructor for the tag '!secret'"),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    copy = Copy.make(tmp_path)
    copy.path("zones.yaml").write_text(f"# one line\n{text}\n")
    (finding,) = copy.findings()
    assert finding.startswith("catalogue/zones.yaml:")
    assert says in finding


ROOM = {
    "cores": (
        "kho-du-lieu", "cpu: 32", "cpu: 193", "analytics",
        "quotas of 193 cores: 193 of kho-du-lieu, 0 of 0 others; wanted 192 at most, which its 3 nodes have",
    ),
    "memory in a burst": (
        "bau-cu", "memory_gib: 128", "memory_gib: 353", "app",
        "quotas of 2564 GiB of memory: 1059 of bau-cu, 1505 of 32 others; wanted 2560 at most, which its 10 nodes have",
    ),
    "GPUs": (
        "ai-platform", "gpu: 8", "gpu: 19", "gpu",
        "quotas of 25 GPUs: 19 of ai-platform, 6 of 2 others; wanted 24 at most, which its 3 nodes have",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROOM)
def test_more_room_than_the_nodes_of_a_zone_have_is_refused_with_the_sums(name: str, tmp_path: Path) -> None:
    """At the application that asks for most, with the line of the nodes."""
    tenant, old, new, zone, says = ROOM[name]
    copy = Copy.make(tmp_path)
    copy.change("tenants.yaml", f"{tenant}:", old, new)
    own, nodes = copy.line("tenants.yaml", f"{tenant}:", new), copy.line("estate.yaml", "  qhdc:", f"      {zone}:")
    found = [one for one in copy.findings() if ": found qhdc." in one]
    assert found == [
        f"catalogue/tenants.yaml:{own}: found qhdc.{zone}: {says} (estate.yaml:{nodes}); ask for less, or add nodes"
    ]


def test_a_zone_that_lost_its_nodes_holds_no_quota(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path)
    copy.change("estate.yaml", "  qhdc:", "roles: [worker, analytics]", "roles: [analytics]")
    lacking = [one for one in copy.findings() if ": found qhdc.analytics: quotas of " in one]
    assert len(lacking) == 2
    assert all("wanted 0 at most, which its 0 nodes have (no group of workers)" in one for one in lacking)


def test_only_nodes_that_are_said_to_be_small_are_let_off(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path, "twin")
    assert copy.read().inventory.limits
    copy.change("estate.yaml", "limits:", "  small-nodes:", "  other-nodes:")
    assert any("found ndc.app: quotas of 409 cores: " in one for one in copy.findings())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path)
    copy.path("tiers.yaml").unlink()
    assert copy.findings() == ["catalogue/tiers.yaml: found no such file; wanted a YAML file"]


def test_every_finding_is_told_at_once(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path)
    copy.change("zones.yaml", "gpu:", "index: 20", "index: 4")
    copy.change("tenants.yaml", "mail:", "sites: [qhdc, ndc]", "sites: [qhdc]")
    assert len(copy.findings()) == 2


def test_the_copy_itself_is_clean(tmp_path: Path) -> None:
    assert Copy.make(tmp_path).read().conversations
