#!/usr/bin/python3 -B
"""The signing service of a site: HTTPS before the device of this host, for whoever has a certificate of the estate.

    POST /v1/sign        {"key", "algorithm", "digest", "form", "release"} -> {"signature"}; form: raw, cades, pades
    POST /v1/time-stamp  a request of RFC 3161 -> its answer
    GET  /v1/keys        {"keys": {label: certificate}}
    GET  /v1/health      204 while the device signs, else 503 with the reason

It signs digests that the signatory of a key has released, and nothing that it was not asked for. An error is
{"error": {"code", "message"}}.
"""

import asyncio
import base64
import json
import os
import re
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import working
from aiohttp import web
from chained import Chained
from learning import AbsentError, Known, learned
from refusing import NoSignatureError
from releasing import BOUND, Releases
from stamping import HASHES, LARGEST, BadRequestError, asked, granted, imprint_of, refused, stamp
from timing import clock_off
from vouching import Authority, Files
from wrapping import signed_data

ETC = Path("/etc/qhs/signer")
SIGNATORIES, ISSUER = "signatories", "issuer"
"""The authorities of credentials, and of the certificates of keys."""
TLS = Path("/etc/qhs/tls")
STATE = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/qhs-signer"))
METRICS = Path("/var/lib/prometheus/node-exporter/qhs_signer.prom")
FORMS = ("raw", "cades", "pades")
TIME_STAMP = "time-stamp"
LEARN_AGAIN, LOOK_AGAIN = 60, 10  # seconds: where all is well, and at the clock
TRY_AGAIN, AT_LATEST = 1, 8  # seconds, doubled while something is lacking
PROCESSES = 2
NEVER = datetime(2286, 1, 1, tzinfo=UTC)
"""Of no certificate, as it has none: that keys lack theirs is told of by itself."""
AWAY = "device"
"""The failure of a device that signs with no key; others are of a token or a key."""


class Service:
    """One host's."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._fronts: list[str] = settings["fronts"]
        self._known = Known()
        self._pool = _pool()
        self._log = Chained(STATE / "log.jsonl")
        self._issuer = _authority(ISSUER, "certificate")
        signatories = _authority(SIGNATORIES, "credential")
        self._releases = Releases(signatories, STATE / "used")
        self._lists_end = min(one.until for one in (signatories, self._issuer))
        self._away = "it has not signed yet"
        self._lacking: dict[str, str] = {}
        """Keys that the device does not sign with, and why."""
        self._wrong: dict[str, str] = {}
        self._off = "nobody has looked at the clock yet"
        self._again = asyncio.Event()

    # --- what is asked ---
    async def sign(self, request: web.Request) -> web.Response:
        """A signature that the key's signatory has released."""
        given = await _given(request)
        note = partial(self._log.add, key=given["key"], digest=given["digest"], peer=peer(request, self._fronts))
        try:
            with self._releases.used(given["release"], {name: given[name] for name in BOUND}) as by:
                signed = await self._in_form(given, self._certified(given["key"]))
        except NoSignatureError as error:
            note(did="refused", why=error.code)
            raise
        note(did="signed", form=given["form"], by=by)
        return web.json_response({"signature": base64.b64encode(signed).decode()})

    async def _in_form(self, given: dict[str, str], chain: list[bytes]) -> bytes:
        algorithm, digest = given["algorithm"], bytes.fromhex(given["digest"])
        if given["form"] == "raw":
            return await self._device(given["key"], algorithm, digest)
        at = datetime.now(UTC) if given["form"] == "cades" else None
        stamping = self._stamping()  # who could not stamp it does not sign it either

        async def by_key(over: bytes) -> bytes:
            return await self._device(given["key"], algorithm, over)

        async def with_time(signature: bytes) -> bytes:
            return await stamp(imprint_of(signature), *stamping)

        return await signed_data(digest, algorithm, chain, by_key, signed_at=at, stamp=with_time)

    async def time_stamp(self, request: web.Request) -> web.Response:
        """A time-stamp, for whoever asks."""
        try:
            answer = await granted(asked(await request.read()), *self._stamping())
        except BadRequestError as error:
            answer = refused(error)
        except NoSignatureError as error:
            self._log.add(did="refused", key=TIME_STAMP, why=error.code, peer=peer(request, self._fronts))
            raise
        return web.Response(body=answer, content_type="application/timestamp-reply")

    async def keys(self, _: web.Request) -> web.Response:
        """Every key with its certificate."""
        return web.json_response(
            {"keys": {label: base64.b64encode(chain[0]).decode() for label, chain in self._known.chains.items()}}
        )

    async def health(self, _: web.Request) -> web.Response:
        """Whether the device signs with every key, and the time is known."""
        if self._away or self._off:
            raise NoSignatureError(503, "away", self._away or self._off)
        return web.Response(status=204)

    # --- what it is done with ---
    def _certified(self, key: str) -> list[bytes]:
        if key not in self._settings["keys"]:
            raise NoSignatureError(404, "no-key", f"{key}: no key of this service")
        if key not in self._known.chains:
            raise NoSignatureError(503, "no-certificate", f"{key}: no certificate is known of it yet")
        chain = self._known.chains[key]
        self._issuer.vouched(chain[0])
        return chain

    def _stamping(self) -> tuple[list[bytes], Any]:
        if self._off:
            raise NoSignatureError(503, "clock", self._off)

        async def by_key(over: bytes) -> bytes:
            return await self._device(TIME_STAMP, "sha256", over)

        return self._certified(TIME_STAMP), by_key

    async def _device(self, key: str, algorithm: str, digest: bytes) -> bytes:
        """A signature of a key. While the device is away it is not asked, but by who looks whether it is back."""
        if why := self._away or self._lacking.get(key):
            raise NoSignatureError(503, "device", why)
        return bytes(await self._ask(key, working.sign, algorithm, digest))

    async def _ask(self, key: str, act: Callable[..., Any], *given: Any) -> Any:
        """What a process that has the device open does with a key. Raises NoSignatureError."""
        token = self._settings["keys"][key]
        pin = self._known.pins.get(token)
        if pin is None or pin == self._wrong.get(token):
            raise NoSignatureError(503, "no-pin", f"the PIN of {token} is not known yet, or is not what it was")
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._pool, act, token, pin, key, *given)
        except BrokenProcessPool:
            self._pool = _pool()
            found = working.Failure(AWAY, "the process that had it open died")
        if not isinstance(found, working.Failure):
            return found
        if found.code == "pin":
            self._wrong[token] = pin  # some more tries would lock the token
            await self._learn()
            if self._known.pins.get(token) != pin:  # it was changed meanwhile
                return await self._ask(key, act, *given)
        self._lost(key, found)
        raise NoSignatureError(503, found.code, found.message)

    def _lost(self, key: str, failure: working.Failure) -> None:
        """A key that is not there costs its own signatures alone; told once."""
        if failure.code == AWAY:
            if not self._away:
                self._log.add(did="device-away", why=failure.message)
            self._away = failure.message
        else:
            if key not in self._lacking:
                self._log.add(did="key-away", key=key, why=failure.message)
            self._lacking[key] = failure.message
        self._again.set()

    # --- what it looks after ---
    async def attend(self) -> None:
        """Learn, and find out whether every key signs: at once where something is amiss, else from time to time."""
        wait = TRY_AGAIN
        while True:
            await self._learn()
            await self._try_all()
            self._again.clear()  # what this look found itself is no news
            _tell(self._away, len(self._lacking), self._lists_end, self._known.until or NEVER)
            lacking = self._away or self._lacking or self._known.chains.keys() != self._settings["keys"].keys()
            try:
                await asyncio.wait_for(self._again.wait(), wait if lacking else LEARN_AGAIN)
                wait = TRY_AGAIN  # somebody has just found something else
            except TimeoutError:
                wait = min(2 * wait, AT_LATEST) if lacking else TRY_AGAIN

    async def _learn(self) -> None:
        """Without a store, what it knows is good as long as the device takes it."""
        nodes, keys = self._settings["store"], self._settings["keys"]
        with suppress(AbsentError):
            self._known = await asyncio.to_thread(learned, self._settings["machine"], nodes, keys)

    async def _try_all(self) -> None:
        """Every key; the first that signs shows that the device is back."""
        failed = {}
        for key in self._settings["keys"]:
            try:
                if not await self._ask(key, working.prove):
                    failed[key] = "what it signs does not verify"
                    continue
            except NoSignatureError as error:
                failed[key] = str(error)
                if error.code == AWAY:
                    return
            else:
                if self._away:
                    self._log.add(did="device-back")
                self._away = ""
        for key in self._lacking.keys() - failed.keys():
            self._log.add(did="key-back", key=key)
        self._lacking = failed
        if len(failed) == len(self._settings["keys"]) and not self._away:
            self._away = next(iter(failed.values()))
            self._log.add(did="device-away", why=self._away)

    async def watch_clock(self) -> None:
        """Nobody is told a time that no server confirms."""
        while True:
            self._off = await asyncio.to_thread(clock_off, self._settings["time_servers"])
            await asyncio.sleep(LOOK_AGAIN)


async def _given(request: web.Request) -> dict[str, str]:
    """What is to be signed. Raises NoSignatureError."""
    wanted = {"key", "algorithm", "digest", "form", "release"}
    try:
        given = await request.json()
    except ValueError:
        given = None
    if not isinstance(given, dict) or given.keys() != wanted or not all(isinstance(one, str) for one in given.values()):
        raise NoSignatureError(400, "input", f"wanted a JSON object with the texts {', '.join(sorted(wanted))}")
    if given["algorithm"] not in HASHES:
        raise NoSignatureError(
            400, "algorithm", f"found {given['algorithm'][:20]!r}; wanted one of {', '.join(HASHES)}"
        )
    if given["form"] not in FORMS:
        raise NoSignatureError(400, "form", f"found {given['form'][:20]!r}; wanted one of {', '.join(FORMS)}")
    if not re.fullmatch(f"([0-9a-f]{{2}}){{{HASHES[given['algorithm']]}}}", given["digest"]):
        raise NoSignatureError(400, "digest", f"wanted a digest of {given['algorithm']} in hexadecimal")
    return given


def peer(request: web.Request, fronts: list[str]) -> str:
    """The name of who asks; a front of the pair says who asked it."""
    transport = request.transport
    shown = transport.get_extra_info("peercert") if transport else None
    name = next((value for part in (shown or {}).get("subject", ()) for key, value in part if key == "commonName"), "")
    return request.headers.get("X-Caller", name) if name in fronts else name


@web.middleware
async def told(request: web.Request, handler: Any) -> web.StreamResponse:
    """Every fault as one answer."""
    try:
        response: web.StreamResponse = await handler(request)
    except NoSignatureError as error:
        return web.json_response({"error": {"code": error.code, "message": str(error)}}, status=error.status)
    return response


def _authority(name: str, holds: str) -> Authority:
    return Authority(holds, Files(ETC / f"{name}.crt", ETC / f"{name}.crl", STATE / f"{name}.crl"))


def _pool() -> ProcessPoolExecutor:
    """Processes of their own, each of which loads the module: it does not outlive a fork."""
    return ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"))


def _tell(away: str, lacking: int, lists_end: datetime, certificates_end: datetime) -> None:
    """For the alerts: of one length, so that nobody reads half of it."""
    with suppress(OSError), METRICS.open("r+") as file:
        file.write(f"qhs_signer_device_up {int(not away)}\nqhs_signer_keys_lacking {lacking:04}\n")
        file.write(f"qhs_signer_lists_end_seconds {int(lists_end.timestamp()):010}\n")
        file.write(f"qhs_signer_certificates_end_seconds {int(certificates_end.timestamp()):010}\n")


def application(settings: dict[str, Any]) -> web.Application:
    """The service with what it looks after."""
    service = Service(settings)

    async def attended(_: web.Application) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(one) for one in (service.attend(), service.watch_clock())]
        yield
        for task in tasks:
            task.cancel()

    app = web.Application(middlewares=[told], client_max_size=LARGEST)
    app.cleanup_ctx.append(attended)
    app.router.add_post("/v1/sign", service.sign)
    app.router.add_post("/v1/time-stamp", service.time_stamp)
    app.router.add_get("/v1/keys", service.keys)
    app.router.add_get("/v1/health", service.health)
    return app


def context() -> ssl.SSLContext:
    """For whoever has a certificate that the estate's root, or the authority of signatories, vouches for."""
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(TLS / "ca.crt"))
    made.load_verify_locations(cafile=str(ETC / f"{SIGNATORIES}.crt"))
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    return made


def main() -> None:
    """Serves until it is told to stop; told to reload, with the certificate that the machine has by now."""
    settings, secure = json.loads((ETC / "signer.json").read_text()), context()
    signal.signal(signal.SIGHUP, lambda *_: secure.load_cert_chain(TLS / "machine.crt", TLS / "machine.key"))
    web.run_app(
        application(settings),
        host=settings["addresses"],
        port=settings["port"],
        ssl_context=secure,
        access_log=None,
        print=None,
    )


if __name__ == "__main__":
    main()
