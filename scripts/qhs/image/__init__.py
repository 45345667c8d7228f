"""The golden image of every machine, built once and cached by what it is built from."""

from qhs.image.build import Image, Report, ensure

__all__ = ["Image", "Report", "ensure"]
