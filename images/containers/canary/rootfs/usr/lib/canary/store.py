"""The site's secret store: it lets in this application by the token of its pod."""

import json
from typing import Any

import web
from given import TOKEN, settings


class Store:
    """For as long as the login is good."""

    def __init__(self) -> None:
        """Raises RefusedError with what each node said."""
        own, said = settings(), []
        login = json.dumps({"role": own["tenant"], "jwt": TOKEN.read_text()})
        for node in own["stores"]:
            try:
                answer = web.ask(f"https://{node}:8200/v1/auth/jwt/login", data=login)
            except web.RefusedError as error:
                said.append(f"{node}: {error}")
                continue
            self._node, self._token = node, json.loads(answer)["auth"]["client_token"]
            return
        raise web.RefusedError("; ".join(said))

    def read(self, path: str) -> dict[str, Any]:
        """A secret. Raises RefusedError."""
        found: dict[str, Any] = self._ask(f"secret/data/{path}")["data"]["data"]
        return found

    def signed(self, request: str) -> str:
        """The certificate for a request, and that of who signed it, in PEM. Raises RefusedError."""
        role = settings()["certificate"]["role"]
        answer = self._ask(f"pki/sign/{role}", data=json.dumps({"csr": request}))["data"]
        return f"{answer['certificate']}\n{answer['issuing_ca']}\n"

    def _ask(self, path: str, **words: str) -> dict[str, Any]:
        given = {"header": f"X-Vault-Token: {self._token}", **words}
        answer: dict[str, Any] = json.loads(web.ask(f"https://{self._node}:8200/v1/{path}", **given))
        return answer
