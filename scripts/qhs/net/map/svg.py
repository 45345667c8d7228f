"""The few shapes that the map is drawn with; every number is whole, so that the same estate gives the same bytes."""

from __future__ import annotations

from html import escape

FONT = "DejaVu Sans, Noto Sans, Arial, sans-serif"


class Picture:
    """An SVG that is drawn from top to bottom."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._parts: list[str] = []

    def rect(
        self, at: tuple[int, int], size: tuple[int, int], fill: str, *, stroke: str = "none", note: str = ""
    ) -> None:
        """A box with slightly round corners; `note` appears when the pointer rests on it."""
        title = f"<title>{escape(note)}</title>" if note else ""
        (x, y), (width, height) = at, size
        place = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="3"'
        self._parts.append(f'<rect {place} fill="{fill}" stroke="{stroke}">{title}</rect>')

    def text(self, x: int, y: int, words: str, *, size: int = 11, fill: str = "#1b2733", style: str = "") -> None:
        """One line of text; `style` holds further attributes."""
        self._parts.append(f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" {style}>{escape(words)}</text>')

    def turned(self, x: int, y: int, words: str, *, size: int = 11, fill: str = "#1b2733", style: str = "") -> None:
        """One line of text that reads upwards."""
        self.text(x, y, words, size=size, fill=fill, style=f'transform="rotate(-90 {x} {y})" {style}'.rstrip())

    def line(self, start: tuple[int, int], end: tuple[int, int], stroke: str, width: int = 1) -> None:
        """A straight line."""
        (x1, y1), (x2, y2) = start, end
        self._parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{stroke}" stroke-width="{width}"/>')

    def arrow(self, start: tuple[int, int], end: tuple[int, int], stroke: str, note: str) -> None:
        """A horizontal arrow with a knot where it begins."""
        (x1, y), (x2, _) = start, end
        back = 6 if x2 > x1 else -6
        self._parts.append(
            f'<g stroke="{stroke}" fill="{stroke}"><title>{escape(note)}</title><circle cx="{x1}" cy="{y}" r="2"/>'
            f'<line x1="{x1}" y1="{y}" x2="{x2 - back}" y2="{y}" stroke-width="2"/>'
            f'<path d="M {x2} {y} L {x2 - back} {y - 3} L {x2 - back} {y + 3} Z"/></g>'
        )

    def finish(self, height: int, title: str) -> str:
        """The whole document."""
        body = "\n".join(self._parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {height}" width="{self.width}" '
            f'height="{height}" font-family="{FONT}" role="img">\n<title>{escape(title)}</title>\n'
            f'<rect width="{self.width}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
        )
