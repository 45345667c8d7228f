"""`qhs up`: from nothing to a network whose packets prove it, one phase after another."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path

from qhs import ansible, cluster, image, lock, names_access, nodes, ruleset_access, tools, trust_access
from qhs.applied import Applied
from qhs.containers import promotion
from qhs.engine import Engine, EngineError, configure, ensure_stack, heard, run_pulumi
from qhs.errors import UserError
from qhs.inventory import groups
from qhs.layout import topology
from qhs.look import look
from qhs.net.probe.cells import probes
from qhs.net.probe.run import run
from qhs.net.probe.vantage import vantages
from qhs.pki.certify import certify, certify_authorities
from qhs.playbooks import groups_of
from qhs.progress import Progress
from qhs.secret_stores import rights, snapshots
from qhs.state import homes, moves
from qhs.twin import inside, lifecycle
from qhs.twin.names import Twin
from stacks.layers import stack_names
from stacks.model import Estate, load
from stacks.model.images import CANARY
from stacks.model.kubernetes import apis
from stacks.model.rules import Ruleset, rulesets
from stacks.name import SITELESS, StackName


class Way(Enum):
    """How the stack of a site is applied."""

    LOOK = auto()
    """After a look at what is there."""
    BELIEVE = auto()
    """To what the last run left."""
    EXPECT = auto()
    """Nothing is described otherwise than in the last run: only where a look finds a change, which halves the work."""


@dataclass
class Report:
    """What `qhs up` found and did; the closing table, and its JSON form."""

    environment: str
    seconds: dict[str, float] = field(default_factory=dict)
    """By phase; of each tool that had to be built too."""
    configured: dict[str, int] = field(default_factory=dict)
    """Machines that were looked at, and how many of Ansible's tasks changed something there."""
    changes: int = 0
    """Machines booted, Ansible tasks and Pulumi resources that changed something."""
    machines: int = 0
    segments: int = 0
    flows: int = 0
    rules: int = 0
    stacks: dict[str, int] = field(default_factory=dict)
    """How many resources each has."""
    probes: int = 0
    disagreements: list[str] = field(default_factory=list)
    """Packets that did not do what the catalogue says."""
    warnings: list[str] = field(default_factory=list)
    """Of the engine, and what policies report without refusing."""
    limits: list[str] = field(default_factory=list)
    """What this machine cannot do that the real estate's can, and what stands in for it."""

    @property
    def resources(self) -> int:
        """Of all stacks."""
        return sum(self.stacks.values())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)

    def write(self, path: Path) -> None:
        """Keep it beside the state."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def up(environment: str, progress: Progress, *, changed: bool = False) -> Report:
    """Bring the twin and all its stacks up. Raises UserError; the next run goes on where this one stopped.

    Where nothing is described otherwise than in the last run, Ansible and Pulumi act only if a look finds something to
    be unlike what that run left.

    With `changed`, Ansible and Pulumi look only at what is new or described otherwise than in the last run (T-A04), and
    Pulumi believes what that run left at a site, unless it did not end or a machine of it had to be booted.
    """
    twin = Twin.here()
    report = Report(environment)
    with alone(twin):
        started = time.monotonic()
        estate = load(environment)
        report.limits = estate.inventory.limit_lines()
        lifecycle.check(twin, len(topology(estate).machines))  # before the minutes that a build takes
        _build(report, progress)
        booted = _machines(report, estate, twin, progress)
        wanted = Applied.of(estate, ansible.beside(ansible.variables(twin)))
        last = Applied.read(twin.applied)
        kept = wanted.within(last) if changed else Applied()
        kept.write(twin.applied)  # of the rest nobody knows, should this run be killed
        same = wanted.within(last)
        machines = (wanted.machines.keys() - kept.machines.keys()) | booted
        unchanged = same.machines.keys() - kept.machines.keys() - booted
        described = {one: wanted.machines[one] for one in machines}
        played = _configure(report, estate, twin, progress, described, same=unchanged, booted=booted)
        believed = last.stacks if changed and not booted & last.machines.keys() else {}
        stacks = wanted.stacks.keys() - kept.stacks.keys()
        ways = {
            one: Way.EXPECT if one in same.stacks and not booted else Way.BELIEVE if one in believed else Way.LOOK
            for one in stacks
        }
        _apply(report, estate, twin, progress, of_layer(ways, "network"))
        _trust(report, estate, twin, progress, {one: wanted.machines[one] for one in played})
        _sign(report, estate, twin, progress, of_layer(ways, "signing"))
        _forget(report, estate, twin, progress, of_layer(ways, "signing"))
        _replicate(report, twin, progress, of_layer(ways, SITELESS))
        _cloud(report, estate, twin, progress, of_layer(ways, "cloud"))
        _keep(report, estate, twin, progress)
        wanted.write(twin.applied)
        _probe(report, estate, twin, progress)
        report.seconds["in all"] = round(time.monotonic() - started, 1)
        report.write(twin.state / "last-up.json")
    return report


def _build(report: Report, progress: Progress) -> None:
    """The engine and the image, side by side: one needs the processor, the other the network and the disk."""
    with report.phase("tools and image"), ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(image.ensure, progress)
        for name, tool in tools.ensure(["engine"], progress).items():
            if tool.how == "built":
                report.seconds[f"  build of {name}"] = round(tool.seconds, 1)
        built = waiting.result()
        if built.how == "built":
            report.seconds["  build of image"] = round(built.seconds, 1)


def _machines(report: Report, estate: Estate, twin: Twin, progress: Progress) -> set[str]:
    """The machines that had to be booted."""
    with report.phase("machines"):
        done = lifecycle.up(topology(estate), progress, twin)
        ruleset_access.write(twin)
    report.changes += len(done.booted)
    report.machines = len(estate.machines)
    return set(done.booted) & estate.machines.keys()  # those of the enclave are nobody's to configure


def _configure(
    report: Report,
    estate: Estate,
    twin: Twin,
    progress: Progress,
    described: dict[str, str],
    *,
    same: set[str],
    booted: set[str],
) -> set[str]:
    """Play the roles on the `described` machines; where those of a site are all the `same`, only if one has drifted.

    Then on the whole site: what a machine answers when it is configured, others of its site are given. Returns the
    machines that roles were played on.
    """
    with report.phase("ansible"):
        sites = [{one for one in estate.machines if estate.machines[one].site == site} for site in estate.active_sites]
        untouched = [site for site in sites if site <= same]
        looked_at = {one: described[one] for one in sorted(set().union(*untouched))}
        drifted = look(twin, estate, looked_at, progress) if looked_at else set()
        quiet = set().union(*(site for site in untouched if not site & drifted))
        report.configured = dict.fromkeys(sorted(quiet), 0)
        due = described.keys() - quiet
        report.configured |= ansible.play(twin, estate, "site.yml", due, progress, described=described, booted=booted)
    report.changes += sum(report.configured.values())
    return due


def _trust(report: Report, estate: Estate, twin: Twin, progress: Progress, described: dict[str, str]) -> None:
    """Play the roles that need a network which lets machines speak to each other."""
    with report.phase("trust"):
        by_name = groups(estate)
        takes_part = {machine for group in groups_of("trust.yml") for machine in by_name[group]}
        due = takes_part & described.keys()
        agree = {machine for group in groups_of("lease.yml") for machine in by_name[group]} & described.keys()
        agreed = ansible.play(twin, estate, "lease.yml", agree, progress, described=described, together=True)
        done = ansible.play(twin, estate, "trust.yml", due, progress, described=described)
        if done and (lost := snapshots.lost(estate, twin)):
            raise UserError(
                f"{', '.join(lost)}: found a secret store that holds nothing; wanted what its stack has declared there",
                f"`qhs secrets restore {lost[0]}` gives it what the old one held; then `qhs up` goes on",
            )
    for machine, number in (*agreed.items(), *done.items()):
        report.changes += number
        report.configured[machine] += number


def of_layer(ways: Mapping[str, Way], layer: str) -> dict[str, Way]:
    """The stacks of a layer, and how each is applied."""
    return {stack: ways[stack] for stack in sorted(ways) if StackName.parse(stack).layer == layer}


def _apply(report: Report, estate: Estate, twin: Twin, progress: Progress, ways: Mapping[str, Way]) -> None:
    """The network stacks of some sites, side by side: none needs another."""
    with report.phase("pulumi"):
        engine = homes.engine(twin, progress)
        names_access.write(twin, estate)
        trust_access.write(twin, estate)
        _side_by_side(report, engine, twin, progress, ways)
    report.segments = sum(1 for place in estate.places.values() if place.zone and place.site in estate.active_sites)
    report.flows, report.rules = counts([one for site in estate.active_sites for one in rulesets(estate, site)])


def _sign(report: Report, estate: Estate, twin: Twin, progress: Progress, ways: Mapping[str, Way]) -> None:
    """The signing stacks; where something is new, that of the site that makes keys first, then with certificates."""
    if not ways:
        return
    with report.phase("signing"):
        engine = homes.engine(twin, progress)
        every = list(ways)
        if set(ways.values()) != {Way.EXPECT} and (renewed := rights.renew(estate, twin)):
            progress(f"signing: whoever provisions may do what the stacks declare now at {', '.join(renewed)}")
        founder = str(StackName(estate.inventory.environment, estate.inventory.signing.founds, "signing"))
        if founder in ways and set(ways.values()) != {Way.EXPECT}:
            _side_by_side(report, engine, twin, progress, {founder: ways[founder]})
            ways = {stack: way for stack, way in ways.items() if stack != founder}
        if certified := certify(engine, twin, estate, founder):
            progress(f"signing: the stand-in authority gave certificates for {', '.join(certified)}")
            ways = {founder: Way.BELIEVE, **ways}
        _side_by_side(report, engine, twin, progress, ways)
        if answered := certify_authorities(engine, twin, estate, every):
            progress(f"signing: the root signed what the secret stores sign certificates by: {', '.join(answered)}")
            _side_by_side(report, engine, twin, progress, dict.fromkeys(answered, Way.BELIEVE))


def _forget(report: Report, estate: Estate, twin: Twin, progress: Progress, ways: Mapping[str, Way]) -> None:
    """Nodes that are gone, where the stack that certifies those that are there has anything new."""
    for stack in (one for one, way in ways.items() if way is not Way.EXPECT):
        site = StackName.parse(stack).site
        if site in apis(estate) and (gone := nodes.forget(estate, twin, site)):
            progress(f"clusters: forgot {', '.join(gone)} at {site}")
            report.changes += len(gone)


def _replicate(report: Report, twin: Twin, progress: Progress, ways: Mapping[str, Way]) -> None:
    """What exists once for the estate."""
    with report.phase(SITELESS):
        _side_by_side(report, homes.engine(twin, progress), twin, progress, ways)


def _cloud(report: Report, estate: Estate, twin: Twin, progress: Progress, ways: Mapping[str, Way]) -> None:
    """A place for each application in the cluster of each of its sites, once their registries have what runs there."""
    with report.phase("cloud"):
        if ways and set(ways.values()) != {Way.EXPECT}:
            changed = [there.site for there, _, done in promotion.promote(twin, estate, [CANARY], progress) if done]
            report.changes += len(changed)
        _side_by_side(report, _together(estate, twin, ways, progress), twin, progress, ways)


def _together(estate: Estate, twin: Twin, stacks: Iterable[str], progress: Progress) -> Engine:
    """An engine that finds what is handed to these stacks: where states of a site lie apart, all go where they belong.

    So they do after a run that was killed while they moved, and where a site has got a cluster since.
    """
    engine, every = homes.engine(twin, progress), [str(one) for one in stack_names(estate)]
    if homes.together(homes.read(twin), every):
        return engine
    for stack in stacks:
        ensure_stack(engine, stack)
    moves.adopt(engine, twin, estate, progress)
    return homes.engine(twin, progress)


def _keep(report: Report, estate: Estate, twin: Twin, progress: Progress) -> None:
    """Every state at its own site, and at the others copies of what changed."""
    with report.phase("state"):
        engine = homes.engine(twin, progress)
        moves.adopt(engine, twin, estate, progress)
        if changed := homes.uncopied(twin):
            # Before the copies, with which the note of what changed goes: a run that dies here is gone on with.
            report.warnings += snapshots.take(estate, twin, progress)
            report.warnings += moves.copy(engine, twin, estate, changed, progress)


def _side_by_side(report: Report, engine: Engine, twin: Twin, progress: Progress, ways: Mapping[str, Way]) -> None:
    with ThreadPoolExecutor(max(1, len(ways))) as pool:
        said = pool.map(lambda stack: _up(engine, twin, stack, progress, ways[stack]), ways)
        for stack, output in zip(ways, said, strict=True):
            _note(report, stack, output)


def _up(engine: Engine, twin: Twin, stack: str, progress: Progress, way: Way) -> str:
    """Apply a stack; what the engine said."""
    progress(f"pulumi: up of {stack}")
    try:
        ensure_stack(engine, stack)
        for key, value in _settings(twin, stack).items():
            configure(engine, stack, f"qhs:{key}", str(value))
        return _applied(engine, twin, stack, way)
    except EngineError as error:
        raise UserError(f"{stack}: {error}", "put right what it names, then `qhs up`") from None


def _applied(engine: Engine, twin: Twin, stack: str, way: Way) -> str:
    within, through = inside.command(twin, []), cluster.reached(stack)
    if way is Way.EXPECT:
        with suppress(EngineError):  # whatever it finds, the update finds too
            words = ["preview", "--refresh", "--expect-no-changes"]
            return run_pulumi(engine, words, stack=stack, inside=within, through=through)
    # Never --skip-preview: policies of a whole stack judge at the end of a phase, so only a preview lets them
    # refuse before anything is applied.
    refresh = f"--refresh={str(way is not Way.BELIEVE).lower()}"
    older = homes.changing(twin, stack)
    said = run_pulumi(engine, ["up", "--yes", refresh], stack=stack, inside=within, through=through)
    if not older and not counted(said, stack)[0]:
        homes.copied(twin, stack)
    return said


def _settings(twin: Twin, stack: str) -> dict[str, Path]:
    """What a stack's plugin and program are told of this twin."""
    ssh = {"sshConfig": ruleset_access.write(twin)}
    if StackName.parse(stack).layer == "network":
        return {**ssh, "namesAccess": names_access.file(twin)}
    trust = {**ssh, "trustAccess": trust_access.file(twin)}
    if StackName.parse(stack).layer in (SITELESS, "cloud"):
        return trust
    return {**trust, "certificates": trust_access.certificates(twin)}


def counts(enforced: list[Ruleset]) -> tuple[int, int]:
    """How many flows these rulesets let through, and how many rules they have.

    A flow that passes no firewall and no machine of ours is in none.
    """
    rules = sum(len(one.guards) + sum(len(flow.rules) for flow in one.flows.values()) for one in enforced)
    return len({flow for one in enforced for flow in one.flows}), rules


def _note(report: Report, stack: str, output: str) -> None:
    """What the engine has done to a stack, and what it said beside it."""
    changed, report.stacks[stack] = counted(output, stack)
    report.changes += changed
    said = heard(output)
    if not said.judged:
        raise UserError(f"no policy judged {stack}", "see why the engine left the policy pack out, then `qhs up`")
    report.warnings += [text for text in said.texts if text not in report.warnings]


# The engine's closing lines: `+ 12 created`, `~ 1 updated`, `+-1 replaced`, `45 unchanged`.
_COUNT = re.compile(r"^\s+(?:[+~-]{1,2} ?)?(\d+) (created|updated|replaced|deleted|unchanged)", re.MULTILINE)


def counted(said: str, stack: str) -> tuple[int, int]:
    """How many resources changed, and how many there are. Raises UserError where the engine does not say so."""
    by_verb = {verb: int(number) for number, verb in _COUNT.findall(said)}
    if not by_verb:
        last = (said.strip().splitlines() or ["nothing"])[-1]
        raise UserError(
            f"pulumi up of {stack}: found {last!r} at its end, wanted how many resources were created or unchanged",
            f"`qhs shell -- pulumi up -s {stack}` shows all that it says",
        )
    there = sum(number for verb, number in by_verb.items() if verb != "deleted")
    return sum(number for verb, number in by_verb.items() if verb != "unchanged"), there


def _probe(report: Report, estate: Estate, twin: Twin, progress: Progress) -> None:
    with report.phase("probe"):
        results = run(twin, probes(estate, vantages(estate, twin), datetime.now(UTC), sample=True))
    report.probes = len(results)
    report.disagreements = [str(result) for result in results if not result.as_wanted]
    progress(f"probe: {len(results)} packets, {len(report.disagreements)} disagree with the catalogue")


def alone(twin: Twin) -> AbstractContextManager[None]:
    """Neither another `qhs up` nor a `qhs down` runs beside this one. Raises UserError."""
    return lock.alone(twin.up_lock, f"`qhs up` of twin {twin.name}")


def down(progress: Progress) -> None:
    """Take the twin away, with everything that was known about it: nothing of it outlives its machines."""
    twin = Twin.here()
    with alone(twin):
        lifecycle.down(progress, twin)
        shutil.rmtree(twin.state, ignore_errors=True)
