"""The golden image of every machine, built once and cached by what it is built from."""

from qhs.image.build import Image, ensure

__all__ = ["Image", "ensure"]
