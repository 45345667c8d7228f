"""Asks the signer of the site, by the application's own certificate, for what somebody has released."""

import json

import web
from given import PEM, settings


def signed(wanted: dict[str, str]) -> dict[str, str]:
    """What the signer answers: a `signature`, or, as `refused`, why there is none."""
    words = {"cert": str(PEM), "header": "Content-Type: application/json", "data": json.dumps(wanted)}
    try:
        answer: dict[str, str] = json.loads(web.ask(f"https://{settings()['signer']}/v1/sign", **words))
    except web.RefusedError as error:
        return {"refused": str(error)}
    return answer
