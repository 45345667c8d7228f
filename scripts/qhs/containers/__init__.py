"""The container images of the private cloud, built once from Debian packages, cached by what they are built from."""

from qhs.containers.build import Built, ensure

__all__ = ["Built", "ensure"]
