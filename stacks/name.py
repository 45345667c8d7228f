"""A stack's name, parsed once: `<environment>.<site>.<layer>`, or `<environment>.replica`."""

from __future__ import annotations

from dataclasses import dataclass

LAYERS = ("network", "signing", "cloud")
SITELESS = "replica"


@dataclass(frozen=True)
class StackName:
    """`twin.qhdc.network` and its like."""

    environment: str
    site: str | None
    layer: str

    @classmethod
    def parse(cls, text: str) -> StackName:
        """Raises ValueError with the wanted form."""
        match text.split("."):
            case [environment, site, layer] if layer in LAYERS:
                return cls(environment, site, layer)
            case [environment, layer] if layer == SITELESS:
                return cls(environment, None, layer)
        wanted = f"<environment>.<site>.<{'|'.join(LAYERS)}> or <environment>.{SITELESS}"
        raise ValueError(f"found the stack name {text!r}; wanted {wanted}")

    def __str__(self) -> str:
        return ".".join(part for part in (self.environment, self.site, self.layer) if part)
