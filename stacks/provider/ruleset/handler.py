"""The kind `qhs:network:Ruleset`: one ruleset, written to every member of its target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from stacks.model.inventory import Degraded
from stacks.provider.base import Checked, Handler, Standing
from stacks.provider.inputs import Plain, faults
from stacks.provider.ruleset.client import Client, Reading, RulesetError, digest
from stacks.provider.ruleset.nft import OddRule, Table, rule_of
from stacks.provider.ruleset.spec import RulesetSpec, shown, text
from stacks.provider.settings import ProviderError
from stacks.provider.values import differences


@dataclass(frozen=True)
class View:
    """What one machine enforces, in the properties of the resource."""

    inputs: Plain
    outputs: Plain
    edited: bool
    """Somebody changed it by hand: it is not what the next boot loads."""

    def against(self, other: View) -> str:
        """Where it differs from another member's, as property paths."""
        found = [*differences(other.inputs, self.inputs), *differences(other.outputs, self.outputs)]
        return ", ".join(path for path, _ in found)


class RulesetHandler(Handler):
    """Rulesets through `qhs-ruleset`; members of a pair that disagree are drift of `members` (C-NET-02)."""

    NAMED = "target"

    def check(self, inputs: Plain) -> Checked:
        try:
            spec = RulesetSpec.model_validate(inputs)
        except ValidationError as error:
            return Checked(inputs, faults(error))
        normal = shown(spec.table(), inputs)
        for name, flow in spec.flows.items():
            normal["flows"][name].update(review=flow.review.isoformat(), breaks=flow.breaks)
        return Checked(normal)

    def key(self, inputs: Plain) -> str:
        return f"{inputs['site']}/{inputs['target']}"

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        table = RulesetSpec.model_validate(inputs).table()
        return _outputs(table, digest(text(table, self._resource(urn, inputs))))

    def write(self, urn: str, inputs: Plain) -> None:
        """To every member; where the site is degraded, to those that answer."""
        spec = RulesetSpec.model_validate(inputs)
        with _told():
            client = self._client()
            members = list(client.answering(spec.members)) if _degraded(inputs) else spec.members
            client.write(members, text(spec.table(), self._resource(urn, inputs)))

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        """A machine that the SSH configuration does not name is gone, and its ruleset with it.

        A member that does not answer is drift of `members` while the other one does: so a refresh gets as far as the
        write, which refuses it, or where the site is degraded does not.
        """
        with _told(f"{key}: "):
            client = self._client()
            there = _there(client, inputs)
            if not there:
                return None
            readings = client.answering(there)
        found, outputs = _as_one(readings, inputs)
        silent = [f"{member} (does not answer)" for member in there if member not in readings]
        return {**found, "members": [*found["members"], *silent]}, outputs

    def list(self) -> list[Standing]:
        """Every machine's, those that enforce one resource's together. Without a resource the key is the machine."""
        with _told():
            client = self._client()
            readings = client.list(client.machines())
        own: dict[str, dict[str, Reading]] = {}
        for machine, reading in readings.items():
            own.setdefault(reading.resource or machine, {})[machine] = reading
        found = []
        for resource, members in own.items():
            key, _, urn = resource.partition(" ")
            inputs, outputs = _as_one(members, {"flows": {}})
            found.append(Standing(key, urn or None, {**inputs, **outputs}))
        return found

    def remove(self, urn: str, inputs: Plain) -> None:
        """Leaves the guards, where it is this resource's: a machine without a ruleset stays closed and manageable."""
        guards = [(guard["name"], rule_of(guard["rule"])) for guard in inputs["guards"]]
        with _told():
            client = self._client()
            there = client.list(_there(client, inputs))
            own = [member for member, reading in there.items() if reading.resource == self._resource(urn, inputs)]
            client.write(own, text(Table(tuple(guards)), None))

    def _resource(self, urn: str, inputs: Plain) -> str:
        return f"{self.key(inputs)} {urn}"

    def _client(self) -> Client:
        return Client(self.settings.machines())


@contextmanager
def _told(where: str = "") -> Iterator[None]:
    """A machine's fault is the user's news."""
    try:
        yield
    except RulesetError as error:
        raise ProviderError(f"{where}{error}") from error


def _as_one(readings: dict[str, Reading], described: Plain) -> tuple[Plain, Plain]:
    """What members enforce, as one ruleset: where they differ, `members` says so."""
    members = list(readings)
    views = {member: _view(one, {**described, "members": members}) for member, one in readings.items()}
    pattern = next((member for member, view in views.items() if not view.edited), members[0])
    told = [_compared(member, views[member].against(views[pattern]), pattern) for member in members]
    # What was changed by hand is what the plan must show.
    view = next((one for one in views.values() if one.edited), views[pattern])
    return {**view.inputs, "members": told}, view.outputs


def _view(reading: Reading, described: Plain) -> View:
    table = reading.table
    rules = [rule for _, rule in table.guards] + [rule for flow in table.flows.values() for rule in flow.rules]
    odd = table.foreign or any(isinstance(rule, OddRule) for rule in rules)
    edited = bool(odd) or digest(text(table, reading.resource)) != reading.confirmed
    return View(shown(table, described), _outputs(table, reading.confirmed), edited)


def _degraded(inputs: Plain) -> bool:
    """Whether a member may be missing; judged as late as can be, as a plan may be applied after the end."""
    given = inputs.get("degraded")
    return given is not None and Degraded.model_validate(given).on(datetime.now(UTC))


def _outputs(table: Table, confirmed: str | None) -> Plain:
    return {"sequence": table.sequence, "foreign": list(table.foreign), "confirmed": confirmed or ""}


def _there(client: Client, inputs: Plain) -> list[str]:
    """The members that there are, without what an earlier refresh told about them."""
    machines = client.machines()
    return [name for member in inputs["members"] if (name := member.partition(" ")[0]) in machines]


def _compared(member: str, differs: str, pattern: str) -> str:
    return f"{member} (differs from {pattern}: {differs})" if differs else member
