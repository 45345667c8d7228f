"""A document with a signature of which only the digest went to who signs, and what pyHanko says of one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from asn1crypto import pem
from pyhanko.keys import load_cert_from_pemder
from pyhanko.pdf_utils.generic import StreamObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import SignatureObject
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko.sign.validation.status import PdfSignatureStatus
from pyhanko_certvalidator import ValidationContext


def document() -> BytesIO:
    """Of one empty page."""
    writer = PdfFileWriter()
    contents = writer.add_object(StreamObject(stream_data=b""))
    writer.insert_page(PageObject(contents=contents, media_box=(0, 0, 200, 200)))
    out = BytesIO()
    writer.write(out)
    out.seek(0)
    return out


def with_signature(sign: Callable[[bytes], bytes]) -> bytes:
    """`sign`: from a digest to CMS."""
    embedding = PdfCMSEmbedder().write_cms("Signature", IncrementalPdfFileWriter(document()))
    next(embedding)
    empty = SignatureObject(timestamp=datetime.now(UTC), subfilter=SigSeedSubFilter.PADES, bytes_reserved=16384)
    embedding.send(SigObjSetup(empty))
    prepared, out = embedding.send(SigIOSetup(md_algorithm="sha256", in_place=True))
    embedding.send(sign(prepared.document_digest))
    return bytes(out.getvalue())


def judged(pdf: bytes, anchor: Path, revoked: Path | None = None) -> PdfSignatureStatus:
    """By the certificate of an authority; with its list of revoked certificates, what that does not tell is refused."""
    (signature,) = PdfFileReader(BytesIO(pdf)).embedded_signatures
    trusted = load_cert_from_pemder(str(anchor))
    strict = {"crls": [pem.unarmor(revoked.read_bytes())[2]], "revocation_mode": "require"} if revoked else {}
    context = ValidationContext(trust_roots=[trusted], allow_fetching=False, **strict)
    return validate_pdf_signature(signature, context, context)
