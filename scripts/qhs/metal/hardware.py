"""What the estate cannot know of a machine: its power controller, the cards behind its ports, its disk.

The operator writes it down in `hardware.yaml` of the state folder, since controllers and their passwords are no part of
the tree:

    media: https://10.66.128.1:8443        # where controllers find what `qhs image medium` made
    machines:
      qhdc-db1:
        controller: https://10.66.129.9    # Redfish
        system: "1"                        # the machine's name there
        user: operator
        password: /etc/qhs/controllers.password
        certificate: /etc/qhs/controllers.pem
        ports: {mgmt-ports: "52:54:00:00:00:01"}
        disk: /dev/nvme0n1                 # only where it has several
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qhs import folders
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.power import Service

type _Card = Annotated[str, Field(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hardware(_Frozen):
    """One machine. `password` and `certificate` are files; `ports`: the cards' addresses by the port's name."""

    controller: str
    system: str
    user: str
    password: Path
    certificate: Path
    ports: dict[str, _Card]
    disk: Annotated[str, Field(pattern=r"^/dev/[\w/.:-]+$")] | None = None

    @property
    def service(self) -> Service:
        return Service(self.controller, self.user, self.password, self.certificate)


class Rack(_Frozen):
    """All machines that are written down."""

    media: Annotated[str, Field(pattern=r"^https?://.*[^/]$")]
    machines: dict[str, Hardware]

    def machine(self, name: str) -> Hardware:
        """Raises UserError for one that is not written down."""
        if name not in self.machines:
            found = ", ".join(self.machines) or "none"
            raise UserError(f"{path()}: found {found}; wanted {name}", f"add {name} below `machines`")
        return self.machines[name]


def folder() -> Path:
    """The state folder of `prod`."""
    return folders.state() / Environment.PROD


def path() -> Path:
    return folder() / "hardware.yaml"


def load() -> Rack:
    """Raises UserError where the file is not there, or is none."""
    try:
        return Rack.model_validate(yaml.safe_load(path().read_text()))
    except FileNotFoundError:
        raise UserError(f"there is no {path()}", f"write it as {__name__} shows") from None
    except (yaml.YAMLError, ValidationError) as error:
        raise UserError(f"{path()}: {error}", f"write it as {__name__} shows") from None
