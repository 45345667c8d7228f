"""Three genuine members on roots of the machine image: they begin once, and who lost its data comes in anew."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qhs.twin import inside
from tests.kernel.certified import certify
from tests.kernel.clusters import Cluster, Member, wired
from tests.kernel.over_image import over_image
from tests.twin.waiting import await_

CLUSTER = "database-quorum.qhdc.qhs.internal"
MEMBERS = {"qhdc-db1": "10.16.0.1", "qhdc-db2": "10.16.0.2", "qhdc-infra1": "10.16.0.3"}
OF_DATABASES = Cluster("etcd", "etcd", MEMBERS, 2381, 2382, {"etcd_members": MEMBERS, "etcd_name": CLUSTER})


@pytest.fixture(scope="module")
def networks() -> Iterator[dict[str, Path]]:
    """By member its own, all of them on one bridge."""
    with wired(MEMBERS) as wires:
        yield wires.networks


@pytest.fixture(scope="module")
def cluster(
    own: Path, networks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Member]]:
    """All three, begun."""
    folder = tmp_path_factory.mktemp("members")
    with over_image(folder / "a") as a, over_image(folder / "b") as b, over_image(folder / "c") as c:
        roots = zip(MEMBERS, (a, b, c), strict=True)
        members = {name: Member(OF_DATABASES, root, name, own, networks[name], CLUSTER) for name, root in roots}
        try:
            for one in members.values():
                code, said = one.says("join")
                assert code == 1, "nobody said that a cluster begins"
                assert "found no other member that lets it in" in said
                assert one.says("begun") == (2, "")
                assert one.says("begin") == (0, "")
            for one in members.values():
                one.start()
            await_(lambda: all(one.serves() for one in members.values()), 30)
            yield members
        finally:
            for one in members.values():
                one.stop()


def known(member: Member) -> set[str]:
    """The addresses that a member knows the others by."""
    listed = asked(member, member.root / "etc/qhs/tls", "v3/cluster/member/list")["members"]
    return {address for one in listed for address in one["peerURLs"]}


def asked(member: Member, tls: Path, path: str, port: int = 2381) -> Any:
    """Of a member, from itself, by the certificate in a folder."""

    def ask() -> Any:
        context = ssl.create_default_context(cafile=str(tls / "ca.crt"))
        context.load_cert_chain(tls / "machine.crt", tls / "machine.key")
        connection = http.client.HTTPSConnection(MEMBERS[member.name], port, context=context, timeout=5)
        try:
            connection.request("POST" if path.startswith("v3") else "GET", f"/{path}", "{}")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    return inside.call(member.network, ask)


def test_a_member_that_lost_its_data_is_taken_out_and_put_in_anew(cluster: dict[str, Member]) -> None:
    one = cluster["qhdc-db2"]
    assert one.says("begun") == (0, "")
    one.stop()
    assert all(cluster[name].serves() for name in MEMBERS if name != one.name), "two of three agree"
    shutil.rmtree(one.root / one.data / "member")
    one.start()
    assert (one.root / one.joined).read_text() == "ETCD_INITIAL_CLUSTER_STATE=existing\n"
    await_(one.serves, 30)
    assert known(one) == {f"https://{address}:2382" for address in MEMBERS.values()}


def test_where_most_have_no_data_all_begin_anew_and_what_the_last_one_had_is_set_aside(
    cluster: dict[str, Member],
) -> None:
    *others, one = cluster.values()
    before = known(one)
    for each in cluster.values():
        each.stop()
    (one.root / one.data / "member/had").touch()
    for other in others:
        shutil.rmtree(other.root / other.data / "member")
    for each in cluster.values():
        assert each.says("begin") == (0, "")
    one.start()
    await_((one.root / one.data / "member/wal").exists, 30)
    one.stop()
    (one.root / one.begins).touch()  # it ended before it served
    for each in cluster.values():
        each.start()
    await_(lambda: all(each.serves() for each in cluster.values()), 30)
    assert known(one) == before
    assert [(each.root / each.data / "member.aside/had").exists() for each in cluster.values()] == [False, False, True]


def test_one_that_has_its_data_goes_on_with_it(cluster: dict[str, Member]) -> None:
    one = cluster["qhdc-db1"]
    before = asked(one, one.root / "etc/qhs/tls", "v3/cluster/member/list")["members"]
    one.stop()
    one.start()
    await_(one.serves, 30)
    assert asked(one, one.root / "etc/qhs/tls", "v3/cluster/member/list")["members"] == before


@pytest.mark.parametrize(("names", "heard"), [(["qhdc-db1", CLUSTER], True), (["qhdc-app1"], False)])
def test_who_does_not_stand_for_the_cluster_is_no_member(
    cluster: dict[str, Member], own: Path, tmp_path: Path, names: list[str], *, heard: bool
) -> None:
    one = cluster["qhdc-db1"]
    certify(tmp_path, own, *names, MEMBERS[one.name])
    if heard:
        assert asked(one, tmp_path, "version", port=2382)["etcdcluster"]
    else:
        with pytest.raises(OSError, match=r"alert|EOF|reset"):
            asked(one, tmp_path, "version", port=2382)


def test_without_a_leader_it_says_so(cluster: dict[str, Member]) -> None:
    for name in ("qhdc-db2", "qhdc-infra1"):
        cluster[name].stop()
    try:
        await_(lambda: cluster["qhdc-db1"].says("check")[0] == 2, 30)
    finally:
        for name in ("qhdc-db2", "qhdc-infra1"):
            cluster[name].start()
    await_(lambda: all(one.serves() for one in cluster.values()), 30)
