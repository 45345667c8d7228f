"""Approvals: the one form of consent to what cannot be undone, and the one verifier of them (T-A11, C-HSM-03).

An approval is a file: a statement of what may be done to what, until when, and signatures of approvers over it, each
made with an OpenSSH key of their own. It counts where enough of those that are known signed that very statement.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from stacks import signatures
from stacks.signatures import Name, SignatureError

NAMESPACE = "qhs-approval"
LONGEST = timedelta(hours=24)
"""From when an approval was made to its end."""
type Action = Literal["delete", "change", "ceremony", "promote"]


class ApprovalError(Exception):
    """Why an approval does not count, or none does."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Statement(_Strict):
    """What is approved."""

    action: Action
    subject: Annotated[str, Field(min_length=1)]
    """Of `delete` the URN of the resource, of `change` the stack and the application, of `ceremony` its name and the
    digest of its script, of `promote` the site that is to take writes and, after `instead-of-`, the one that did."""
    reason: Annotated[str, Field(min_length=1)]
    made: AwareDatetime
    expires: AwareDatetime

    @model_validator(mode="after")
    def _short(self) -> Self:
        if not self.made < self.expires <= self.made + LONGEST:
            raise ValueError(f"an end within {LONGEST} of when it was made")
        return self

    def names(self, action: str, subject: str) -> bool:
        """Whether it is this that is approved, of that."""
        return (self.action, self.subject) == (action, subject)

    def text(self) -> bytes:
        """What approvers sign: one text for one statement."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False).encode()


class Approval(_Strict):
    """A statement with what was signed of it so far."""

    statement: Statement
    signatures: dict[Name, str] = {}
    """By approver, in OpenSSH's own form."""

    @classmethod
    def read(cls, path: Path) -> Approval:
        """Raises ApprovalError."""
        try:
            return cls.model_validate_json(path.read_text())
        except (OSError, ValidationError) as error:
            raise ApprovalError(f"{path}: found no approval: {error}") from None

    def signed(self, name: str, key: Path) -> Approval:
        """With a signature more. Raises ApprovalError."""
        try:
            signature = signatures.sign(self.statement.text(), NAMESPACE, key)
        except SignatureError as error:
            raise ApprovalError(str(error)) from None
        return self.model_copy(update={"signatures": {**self.signatures, name: signature}})


class Approvers(_Strict):
    """Who may approve, and how many of them it takes."""

    folder: Path
    """Where approvals lie."""
    signers: Path
    """Approvers with their public keys, a line each, as `ssh-keygen -Y verify` takes it."""
    quorum: Annotated[int, Field(ge=2)]

    def require(self, action: str, subject: str, now: datetime | None = None) -> Approval:
        """The approval that lets this be done to that. Raises ApprovalError with what is wrong with each there is."""
        said = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                approval = Approval.read(path)
                if not approval.statement.names(action, subject):
                    continue
                self.judge(approval, now)
            except ApprovalError as error:
                said.append(f"{path.name}: {error}")
            else:
                return approval
        found = "; ".join(said) or f"none in {self.folder}"
        raise ApprovalError(
            f"{action} of {subject}: found {found}; wanted an approval that names it, signed by {self.quorum} of "
            f"{self.signers}. Way out: `qhs approve new {action} '{subject}'`, `qhs approve sign FILE` by each of them"
        )

    def judge(self, approval: Approval, now: datetime | None = None) -> set[str]:
        """Who approved. Raises ApprovalError where that does not count."""
        now, statement = now or datetime.now(UTC), approval.statement
        if not statement.made <= now < statement.expires:
            raise ApprovalError(f"found one from {statement.made} to {statement.expires}; wanted now, {now}, within")
        keys = dict(signatures.known(self.signers))
        given = {name: one for name, one in approval.signatures.items() if name in keys}
        good = signatures.holding(statement.text(), NAMESPACE, given, self.signers)
        if len({keys[name] for name in good}) < self.quorum:
            raise ApprovalError(f"found {', '.join(sorted(good)) or 'nobody'} who approved; wanted {self.quorum}")
        return good
