"""The checks of the CIS Benchmark for Kubernetes: what each wants in our words, and how it is judged here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from stacks.model.catalogue import Strict

CheckId = Annotated[str, StringConstraints(pattern=r"^[1-5](\.\d{1,2}){1,2}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Option = Annotated[str, StringConstraints(pattern=r"^[a-z-]+ --\S+$")]
Mode = Annotated[str, StringConstraints(pattern=r"^0[0-7]{3}$")]
Place = Literal["control", "node", "cluster"]

PLACES: dict[str, Place] = {"4": "node", "5": "cluster"}
"""What a section is about, where a check of it says nothing else; the others are about control planes."""


class Rights(Strict):
    """What nobody may do whose rights we have declared."""

    verbs: list[str] = Field(min_length=1)
    resources: list[str] = Field(min_length=1)
    but: list[str] = Field([], description="who may, as `User NAME`")


class Check(Strict):
    """One check. It is judged in one way; `waived` says why what it wants is not so, for as long as the judge holds."""

    wants: Text
    on: Place | None = None
    options: list[Option] = Field([], description="of programs that run: `PROGRAM --NAME`")
    accepted: list[str] = Field([], description="values of those options; empty: any, `nothing`: it is not given")
    files: list[Text] = Field([], description="patterns; each has a file, and all of them `mode` and `owner`")
    mode: Mode | None = Field(None, description="no right beside these")
    owner: Text | None = None
    absent: list[Text] = Field([], description="patterns of files that must not be there")
    rights: Rights | None = None
    query: Text | None = Field(None, description="a name in policies/rules/asked.py")
    judged_by: Text | None = Field(None, description="`CONTROL SUBJECT`: another control's rule, which judges the same")
    waived: Text | None = Field(None, description="why")

    @model_validator(mode="after")
    def _one_judge(self) -> Self:
        judges = [self.options, self.files, self.absent, self.rights, self.query, self.judged_by]
        if (found := sum(map(bool, judges))) > 1 or not (found or self.waived):
            raise ValueError("one of options, files, absent, rights, query and judged_by, or why it is waived")
        if bool(self.files) != bool(self.mode or self.owner):
            raise ValueError("files with a mode or an owner, and not otherwise")
        return self
