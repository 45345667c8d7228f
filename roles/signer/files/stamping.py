"""Time-stamps (RFC 3161), by the profile of EN 319 422."""

import secrets
from datetime import UTC, datetime
from hashlib import sha256
from typing import ClassVar

from asn1crypto import core, tsp
from wrapping import Sign, signed_data

HASHES = {"sha256": 32, "sha384": 48, "sha512": 64}
POLICY = "2.25.329800735698586629295641978511506172918"
"""Of a tree that needs no registry (X.667). A design choice until the Assembly has one of its own."""
ACCURACY = 1  # seconds (C-TSA-02)
LARGEST = 4096


class _Rejection(core.Sequence):
    """An answer without a time-stamp: asn1crypto has none (RFC 3161, 2.4.2)."""

    _fields: ClassVar = [("status", tsp.PKIStatusInfo)]


class BadRequestError(Exception):
    """With the word of RFC 3161 for it."""

    def __init__(self, failure: str, message: str) -> None:
        super().__init__(message)
        self.failure = failure


def asked(body: bytes) -> tsp.TimeStampReq:
    """A request that can be answered. Raises BadRequestError."""
    try:
        request = tsp.TimeStampReq.load(body, strict=True)
        imprint = request["message_imprint"].native
        policy = request["req_policy"].native
        extensions = request["extensions"].native
    except (ValueError, TypeError) as error:
        raise BadRequestError("bad_data_format", f"no request for a time-stamp: {error}") from None
    algorithm = imprint["hash_algorithm"]["algorithm"]
    if algorithm not in HASHES:
        raise BadRequestError("bad_alg", f"{algorithm}; wanted one of {', '.join(HASHES)}")
    if len(imprint["hashed_message"]) != HASHES[algorithm]:
        raise BadRequestError("bad_data_format", f"{len(imprint['hashed_message'])} bytes are no {algorithm}")
    if policy not in (None, POLICY):
        raise BadRequestError("unaccepted_policy", f"{policy}; wanted {POLICY} or none")
    if extensions:
        raise BadRequestError("unaccepted_extension", "wanted none")
    return request


async def granted(request: tsp.TimeStampReq, chain: list[bytes], sign: Sign, now: datetime | None = None) -> bytes:
    """The answer with a time-stamp of now."""
    token = await stamp(request["message_imprint"], chain, sign, request["nonce"].native, now)
    answer = {"status": {"status": "granted"}, "time_stamp_token": tsp.ContentInfo.load(token)}
    return bytes(tsp.TimeStampResp(answer).dump())


def imprint_of(content: bytes) -> tsp.MessageImprint:
    """What is stamped of some content."""
    return tsp.MessageImprint({"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": sha256(content).digest()})


async def stamp(
    imprint: tsp.MessageImprint, chain: list[bytes], sign: Sign, nonce: int | None = None, now: datetime | None = None
) -> bytes:
    """A time-stamp token."""
    info = tsp.TSTInfo(
        {
            "version": "v1",
            "policy": POLICY,
            "message_imprint": imprint,
            "serial_number": secrets.randbits(127) + 1,
            "gen_time": now or datetime.now(UTC),
            "accuracy": {"seconds": ACCURACY},
            **({"nonce": nonce} if nonce is not None else {}),
        }
    ).dump()
    return await signed_data(sha256(info).digest(), "sha256", chain, sign, content=("tst_info", info))


def refused(error: BadRequestError) -> bytes:
    """The answer without one."""
    status = {"status": "rejection", "status_string": [str(error)], "fail_info": {error.failure}}
    return bytes(_Rejection({"status": status}).dump())
