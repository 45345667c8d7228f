"""A power controller with a drive, as machines of `prod` have: the twin's own answers, and what they lack."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal

from qhs.twin import redfish
from qhs.twin.redfish import Answer, Systems

MANAGER = f"{redfish.ROOT}/Managers/m"


class Controller:
    """Answers for one machine. `below`: where its drive is to be found; `fetch`: what happens to a medium's address."""

    def __init__(
        self, machine: Systems, below: Literal["system", "manager"], fetch: Callable[[str], None] = lambda _: None
    ) -> None:
        self._machine, self._fetch = machine, fetch
        (name,) = machine.names()
        self.path = f"{redfish.SYSTEMS}/{name}"
        self.drives = f"{self.path if below == 'system' else MANAGER}/VirtualMedia"
        self.image: str | None = None
        self.boot = {"BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Disabled"}
        self.asked: list[str] = []
        """What was changed, in turn."""

    def start(self) -> bool:
        """Whether the start that is now is from the drive; the one after is from the disk."""
        once = self.boot == {"BootSourceOverrideTarget": "Cd", "BootSourceOverrideEnabled": "Once"}
        self.boot = {"BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Disabled"}
        return once and self.image is not None

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """As redfish.answer, with a drive."""
        if method != "GET":
            self.asked.append(path.rpartition(".")[2] if "Actions" in path else "Boot")
        if (method, path) == ("PATCH", self.path):
            self.boot = json.loads(body)["Boot"]
            return HTTPStatus.NO_CONTENT, {}
        if path.startswith((self.drives, MANAGER)):
            return self._answer_of_drive(method, path.removeprefix(self.drives), body)
        status, told = redfish.answer(self._machine, method, path, body)
        return status, told | self._more() if path == self.path else told

    def _more(self) -> dict[str, Any]:
        targets = {"BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Cd", "Hdd"]}
        links = {"Links": {"ManagedBy": [{"@odata.id": MANAGER}]}}
        drive = {"VirtualMedia": {"@odata.id": self.drives}} if self.path in self.drives else {}
        return {"Boot": self.boot | targets} | links | drive

    def _answer_of_drive(self, method: str, path: str, body: bytes) -> Answer:
        if path == "/cd/Actions/VirtualMedia.InsertMedia":
            self.image = json.loads(body)["Image"]
            self._fetch(self.image)
        elif path == "/cd/Actions/VirtualMedia.EjectMedia":
            self.image = None
        elif method == "GET":
            return HTTPStatus.OK, {"": self._collection(), "/cd": self._drive()}.get(path, self._manager())
        return HTTPStatus.NO_CONTENT, {}

    def _manager(self) -> dict[str, Any]:
        return {"@odata.id": MANAGER, "Id": "m", "Name": "m", "VirtualMedia": {"@odata.id": self.drives}}

    def _collection(self) -> dict[str, Any]:
        return {"@odata.id": self.drives, "Name": "drives", "Members": [{"@odata.id": f"{self.drives}/cd"}]}

    def _drive(self) -> dict[str, Any]:
        actions = {
            f"#VirtualMedia.{verb}": {"target": f"{self.drives}/cd/Actions/VirtualMedia.{verb}"}
            for verb in ("InsertMedia", "EjectMedia")
        }
        told = {"@odata.id": f"{self.drives}/cd", "Id": "cd", "Name": "cd", "MediaTypes": ["CD"], "Actions": actions}
        return told | {"Image": self.image, "Inserted": self.image is not None}
