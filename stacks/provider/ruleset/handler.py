"""The kind `qhs:network:Ruleset`: one ruleset, written to every member of its target."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from stacks.provider.base import Checked, Handler, ProviderError
from stacks.provider.ruleset.client import Client, Reading, RulesetError, digest
from stacks.provider.ruleset.nft import OddRule, Table, rule_of
from stacks.provider.ruleset.spec import RulesetSpec, faults, shown, text
from stacks.provider.values import Plain, differences


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

    def outputs(self, inputs: Plain) -> Plain:
        table = RulesetSpec.model_validate(inputs).table()
        return _outputs(table, digest(text(table)))

    def write(self, inputs: Plain) -> None:
        self._write(inputs["members"], text(RulesetSpec.model_validate(inputs).table()))

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain]:
        members = _names(inputs)
        try:
            readings = self._client().list(members)
        except RulesetError as error:
            raise ProviderError(f"{key}: {error}") from error
        views = {member: _view(one, {**inputs, "members": members}) for member, one in readings.items()}
        pattern = next((member for member, view in views.items() if not view.edited), members[0])
        told = [_told(member, views[member].against(views[pattern]), pattern) for member in members]
        # What was changed by hand is what the plan must show.
        view = next((one for one in views.values() if one.edited), views[pattern])
        return {**view.inputs, "members": told}, view.outputs

    def remove(self, inputs: Plain) -> None:
        """Leaves the guards alone: a machine that no ruleset describes any more stays closed and manageable."""
        guards = [(guard["name"], rule_of(guard["rule"])) for guard in inputs["guards"]]
        self._write(_names(inputs), text(Table(tuple(guards))))

    def _write(self, members: list[str], ruleset: str) -> None:
        try:
            self._client().write(members, ruleset)
        except RulesetError as error:
            raise ProviderError(str(error)) from error

    def _client(self) -> Client:
        config = self.settings.ssh_config
        if config is None or not config.is_file():
            raise ProviderError(
                f"qhs:sshConfig: found {config or 'nothing'}; wanted an OpenSSH configuration of the machines. "
                "Way out: `qhs up`, or `pulumi config set qhs:sshConfig FILE`"
            )
        return Client(config)


def _view(reading: Reading, described: Plain) -> View:
    table = reading.table
    rules = [rule for _, rule in table.guards] + [rule for flow in table.flows.values() for rule in flow.rules]
    odd = table.foreign or any(isinstance(rule, OddRule) for rule in rules)
    edited = bool(odd) or digest(text(table)) != reading.confirmed
    return View(shown(table, described), _outputs(table, reading.confirmed), edited)


def _outputs(table: Table, confirmed: str | None) -> Plain:
    return {"sequence": table.sequence, "foreign": list(table.foreign), "confirmed": confirmed or ""}


def _names(inputs: Plain) -> list[str]:
    """The members, without what an earlier refresh told about them."""
    return [member.partition(" ")[0] for member in inputs["members"]]


def _told(member: str, differs: str, pattern: str) -> str:
    return f"{member} (differs from {pattern}: {differs})" if differs else member
