"""The software bill of materials of an image, in CycloneDX: a component for each package of its dpkg database."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.exceptions import InvalidSpdxLicenseException
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from debian.copyright import Copyright, NotMachineReadableError
from packageurl import PackageURL

from qhs.image.lock import Package

# It tells of every old address in a file's header that it reads nevertheless.
logging.getLogger("debian.copyright").setLevel(logging.ERROR)

DISTRIBUTION = "debian-13"
MACHINE = "machine"
"""What the golden image is called; every other one is a container's."""


def write(
    path: Path,
    root: Path,
    packages: Iterable[Package],
    digest: str,
    made: int,
    *,
    rows: Iterable[tuple[str, str, str]],
    name: str = MACHINE,
    others: Iterable[PackageURL] = (),
) -> None:
    """Write the bill of the tree at `root`, whose digest names it; `made` is in seconds since the epoch.

    `rows` are its packages, each with version and architecture, `others` what else is in it.

    It says the same whenever it is written: neither a random serial number nor the time of the build is in it.
    """
    sha256 = {one.name: one.sha256 for one in packages}
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, digest),
        components=[*(_component(root, sha256, *row) for row in rows), *map(_other, others)],
    )
    bom.metadata.timestamp = datetime.fromtimestamp(made, UTC)
    bom.metadata.component = Component(
        name=name,
        type=ComponentType.OPERATING_SYSTEM if name == MACHINE else ComponentType.CONTAINER,
        version=digest,
        bom_ref=name,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))],
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    path.write_text(JsonV1Dot6(bom).output_as_string(indent=1) + "\n")


def installed(root: Path) -> list[tuple[str, str, str]]:
    """Name, version and architecture of each package in dpkg's database of a tree."""
    fields = "${Package} ${Version} ${Architecture} ${db:Status-Status}\n"
    command = ["dpkg-query", f"--admindir={root / 'var/lib/dpkg'}", "--show", f"--showformat={fields}"]
    rows = [
        line.split() for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    ]
    return sorted(
        (name, version, architecture) for name, version, architecture, status in rows if status == "installed"
    )


def _component(root: Path, sha256: dict[str, str], name: str, version: str, architecture: str) -> Component:
    where = {"arch": architecture, "distro": DISTRIBUTION}
    purl = PackageURL("deb", "debian", name, version, qualifiers=where)
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=purl.to_string(),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256[name])] if name in sha256 else [],
        licenses=[_licence(one) for one in sorted(set(licences(root, name)))],
    )


def _other(purl: PackageURL) -> Component:
    return Component(
        name=purl.name, version=purl.version, type=ComponentType.LIBRARY, purl=purl, bom_ref=purl.to_string()
    )


def _licence(name: str) -> DisjunctiveLicense:
    """By its SPDX identifier where Debian's short name is one."""
    try:
        return LicenseFactory().make_with_id(name)
    except InvalidSpdxLicenseException:
        return LicenseFactory().make_with_name(name)


def licences(root: Path, name: str) -> Iterator[str]:
    """The licences that a package's copyright file names in the machine-readable form; none where it has another."""
    path = root / "usr/share/doc" / name / "copyright"
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            # Any: the library's descriptor hides what it gives.
            stated: list[Any] = [one.license for one in Copyright(file, strict=False).all_files_paragraphs()]
            yield from (one.synopsis for one in stated if one and one.synopsis)
    except (NotMachineReadableError, ValueError):
        return
