"""A report in its file, signed by the estate's signer: no byte of it can be another one and mean the same."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from qhs.containers.signature import SignatureError, Signed, Trust
from qhs.drill.report import DrillReport
from stacks.model.catalogue import Strict


class ReportError(Exception):
    """A file is no report."""


class Seal(Strict):
    """The signature over a report's text, the certificate of the key and those over it."""

    signature: str
    certificate: str
    chain: str

    @classmethod
    def of(cls, signed: Signed) -> Seal:
        """As the signer gave it."""
        return cls(
            signature=base64.b64encode(signed.signature).decode(), certificate=signed.certificate, chain=signed.chain
        )

    def over(self, payload: bytes) -> Signed:
        """For who judges it. Raises ReportError where it is not written in the one way that there is."""
        try:
            signature = base64.b64decode(self.signature, validate=True)
            again = base64.b64encode(signature).decode(), _pem(self.certificate), _pem(self.chain)
        except ValueError as error:
            raise ReportError(f"found no signature: {error}") from None
        if again != (self.signature, self.certificate, self.chain):
            raise ReportError("found a signature that is not as it was written; wanted every byte of it")
        return Signed(payload, signature, self.certificate, self.chain)


class Sealed(Strict):
    """A report; without a seal nobody vouches for it."""

    report: DrillReport
    seal: Seal | None

    def text(self) -> str:
        """The one way in which it is written."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, sort_keys=True) + "\n"

    @classmethod
    def read(cls, path: Path) -> Sealed:
        """Raises ReportError where it is none, or not written as `text` writes one."""
        try:
            written = path.read_bytes().decode()
            read = cls.model_validate_json(written)
        except (OSError, ValueError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise ReportError(f"{path}: found no report of a drill: {said}") from None
        if read.text() != written:
            raise ReportError(f"{path}: found a report that is not as it was written; wanted every byte of it")
        return read


def seal(report: DrillReport, sign: Callable[[bytes], Signed]) -> Sealed:
    """With a signature. Raises what `sign` raises."""
    return Sealed(report=report, seal=Seal.of(sign(report.text().encode())))


def wrong(sealed: Sealed, trust: Trust) -> Iterator[str]:
    """Why a report shows nothing: its signature, its chain, what follows from that, evidence that it lacks."""
    report = sealed.report
    if sealed.seal is None:
        yield "found no signature; wanted one of the estate's signer: `qhs drill report` has it signed"
    else:
        yield from _unsigned(sealed.seal, report, trust, report.ended)
    try:
        yield from report.broken()
    except Exception as error:  # whoever wrote it may have left out anything
        yield f"found a journal that no report follows from: {type(error).__name__}: {error}"
    yield from (fault for fault in report.faults if fault.startswith("no "))


def _unsigned(seal_: Seal, report: DrillReport, trust: Trust, then: datetime) -> Iterator[str]:
    """Certificates are judged as of then: a report is read for years."""
    try:
        trust.judge(seal_.over(report.text().encode()), then)
    except (SignatureError, ReportError) as error:
        yield str(error)
    except Exception as error:  # a certificate that was changed is refused by its reader, in many ways
        yield f"found a signature that nobody can read: {error}"


def _pem(text: str) -> str:
    found = x509.load_pem_x509_certificates(text.encode())
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)
