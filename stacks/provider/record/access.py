"""Where authorities are, and which key they take: the file that `qhs:namesAccess` names."""

from __future__ import annotations

from pathlib import Path

from dns import name, tsig
from pydantic import ValidationError

from stacks.provider.inputs import Input
from stacks.provider.settings import ProviderError


class Access(Input):
    """How updates of names are signed, and who takes them."""

    key: str
    secret: Path
    """The file with the key in base64 (HMAC-SHA256)."""
    authorities: dict[str, str]
    """By domain the machine that is its authority, as `qhs:sshConfig` names it."""

    @classmethod
    def read(cls, path: Path | None) -> Access:
        """Raises ProviderError."""
        try:
            return cls.model_validate_json(path.read_text() if path else "")
        except (OSError, ValidationError) as error:
            raise ProviderError(
                f"qhs:namesAccess: found {path or 'nothing'}: {error}; wanted a file that names key, secret and "
                "authorities. Way out: `qhs up`, or `pulumi config set qhs:namesAccess FILE`"
            ) from None

    def signature(self) -> tsig.Key:
        """Raises ProviderError."""
        try:
            return tsig.Key(name.from_text(self.key), self.secret.read_text().strip(), tsig.HMAC_SHA256)
        except (OSError, ValueError) as error:
            # The error of a broken key could show a part of it.
            raise ProviderError(
                f"{self.secret}: found {type(error).__name__}; wanted a key in base64. Way out: `qhs up`"
            ) from None
