"""`qhs net map`: the whole network on one page.

A row is a zone. On its left the outside networks stand as rails, with an arrow for what comes in or goes out; then the
sites that have the zone; on its right the zones that it may talk to, so that no line has to cross another.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from qhs.net.map.legend import BREAKS, EXPIRING, LAYERS, OPEN, RAILS, Layer
from qhs.net.map.svg import Picture
from stacks.model import Estate
from stacks.model.catalogue import Title
from stacks.model.estate import Conversation

WIDTH, MARGIN, TOP = 1280, 24, 176
ROW, GAP, CELL = 27, 8, 19
RAIL, NAMES, SITES, SITE = 32, 140, 462, 66
RAIL_TITLE = 14  # characters that fit above a rail; a longer title gives way to the name
FITS = 44  # letters of a zone's title in its row, at the usual size
GREY, FAINT, LINE = "#52616e", "#f4f6f8", "#dde3e8"


@dataclass(frozen=True)
class Row:
    """A zone and where its row stands."""

    name: str
    title: Title
    level: int
    layer: Layer
    y: int


def draw(estate: Estate) -> str:
    """The map of an estate as SVG; the same estate gives the same bytes."""
    picture = Picture(WIDTH)
    rows = _rows(estate)
    bottom = max(row.y for row in rows) + ROW
    _head(picture, estate)
    _rails(picture, estate, rows, bottom)
    _names(picture, estate, rows)
    _matrix(picture, estate, rows, bottom)
    height = _foot(picture, estate, bottom + 24)
    return picture.finish(height, f"{_TITLE.vi} / {_TITLE.en}: {estate.inventory.environment}")


_TITLE = Title(vi="Bản đồ mạng của Quốc hội số", en="Network map of the Digital National Assembly")


def _rows(estate: Estate) -> list[Row]:
    rows, y = [], TOP
    for layer in LAYERS:
        zones = [(name, zone) for name, zone in estate.catalogue.zones.items() if zone.kind in layer.kinds]
        for name, zone in zones:
            rows.append(Row(name, zone.title, zone.level, layer, y))
            y += ROW
        y += GAP if zones else 0
    return rows


def _head(picture: Picture, estate: Estate) -> None:
    flows = len({one.flow for one in estate.conversations})
    picture.text(MARGIN, 34, _TITLE.vi, size=20, style='font-weight="bold"')
    picture.text(MARGIN, 56, f"{_TITLE.en} — {estate.inventory.environment}", size=14, fill=GREY)
    picture.text(
        MARGIN,
        78,
        f"{len(estate.catalogue.zones)} vùng / zones · {flows} luồng / flows · "
        f"{len(estate.conversations)} hội thoại / conversations · còn lại bị chặn / all else is denied",
        fill=GREY,
    )


def _rails(picture: Picture, estate: Estate, rows: list[Row], bottom: int) -> None:
    used = [name for name in estate.catalogue.externals if any(_touches(one, name) for one in estate.conversations)]
    at = {row.name: row for row in rows}
    for number, name in enumerate(used):
        x, colour = MARGIN + 12 + number * RAIL, RAILS[estate.catalogue.externals[name].medium]
        title = estate.catalogue.externals[name].title
        picture.line((x, TOP - 6), (x, bottom), colour, 3)
        picture.turned(x - 3, TOP - 12, title.vi if len(title.vi) <= RAIL_TITLE else name.upper(), fill=colour)
        incoming, outgoing = defaultdict(set), defaultdict(set)
        for one in estate.conversations:
            if one.source.leg == name and one.destination.zone:
                incoming[one.destination.zone].add(one.flow)
            if one.destination.leg == name and one.source.zone:
                outgoing[one.source.zone].add(one.flow)
        for zone, flows in incoming.items():
            y = at[zone].y + 8
            picture.arrow((x, y), (NAMES - 4, y), colour, f"{name} -> {zone}: {', '.join(sorted(flows))}")
        for zone, flows in outgoing.items():
            y = at[zone].y + 18
            picture.arrow((NAMES - 6, y), (x + 3, y), colour, f"{zone} -> {name}: {', '.join(sorted(flows))}")


def _touches(one: Conversation, external: str) -> bool:
    return any(place.site is None and place.leg == external for place in (one.source, one.destination))


def _names(picture: Picture, estate: Estate, rows: list[Row]) -> None:
    sites = list(estate.inventory.sites)
    for number, site in enumerate(sites):
        x = SITES + number * SITE
        for line, words in enumerate(_wrapped(estate.inventory.sites[site].title.vi, 13)):
            picture.text(x, TOP - 42 + 11 * line, words, size=9, fill=GREY)
        picture.text(x, TOP - 56, site, size=12, style='font-weight="bold"')
    for row in rows:
        zone = estate.catalogue.zones[row.name]
        picture.rect((NAMES, row.y + 1), (SITES - NAMES - 10, ROW - 3), row.layer.fill, note=row.title.vi)
        size = 11 if len(row.title.vi) <= FITS else 9
        picture.text(NAMES + 8, row.y + 12, row.title.vi, size=size, style='font-weight="bold"')
        picture.text(NAMES + 8, row.y + 22, f"{row.name} · {row.title.en}", size=9, fill=GREY)
        for number, site in enumerate(sites):
            if site in zone.sites:
                x, note = SITES + number * SITE, f"{site}.{row.name}: {zone.title.en}, level {zone.level}"
                size_of_box = SITE - 10, ROW - 7
                picture.rect((x, row.y + 3), size_of_box, row.layer.fill, stroke=row.layer.edge, note=note)
                picture.text(x + 6, row.y + 17, "cấp", size=9, fill=row.layer.edge)
                picture.rect((x + SITE - 24, row.y + 6), (12, 14), row.layer.edge)
                picture.text(x + SITE - 21, row.y + 17, str(zone.level), size=10, fill="#ffffff")


def _matrix(picture: Picture, estate: Estate, rows: list[Row], bottom: int) -> None:
    left = SITES + len(estate.inventory.sites) * SITE + 16
    cells: dict[tuple[str, str], list[Conversation]] = defaultdict(list)
    for one in estate.conversations:
        if one.source.zone and one.destination.zone:
            cells[one.source.zone, one.destination.zone].append(one)
    for number, column in enumerate(rows):
        x = left + number * CELL
        picture.turned(x + 13, TOP - 12, column.name, size=10, fill=column.layer.edge)
        if number % 2 == 0:
            picture.rect((x, TOP - 4), (CELL, bottom - TOP + 4), FAINT)
    for row in rows:
        picture.line((left, row.y + ROW - 1), (left + len(rows) * CELL, row.y + ROW - 1), LINE)
        for number, column in enumerate(rows):
            x = left + number * CELL
            if row.name == column.name:
                picture.rect((x + 1, row.y + 3), (CELL - 2, ROW - 7), LINE)
            if found := cells.get((row.name, column.name)):
                _cell(picture, estate, (x, row.y), found)
    picture.text(left, 34, "từ vùng của hàng đến vùng của cột", size=12)
    picture.text(left, 50, "from the row's zone to the column's", fill=GREY)


def _cell(picture: Picture, estate: Estate, at: tuple[int, int], found: list[Conversation]) -> None:
    flows = sorted({one.flow for one in found})
    services = sorted({one.target.service for one in found})
    breaks = all(estate.catalogue.services[service].breaks for service in services)
    expiring = any(estate.catalogue.flows[flow].expires for flow in flows)
    across = any(one.source.site != one.destination.site for one in found)
    x, y = at[0] + 2, at[1] + 5
    fill = EXPIRING if expiring else BREAKS if breaks else OPEN
    picture.rect((x, y), (CELL - 4, ROW - 11), fill, note=f"{', '.join(flows)}: {', '.join(services)}")
    words = str(len(services))
    picture.text(x + (5 if len(words) == 1 else 1), y + 12, words, size=10, fill="#ffffff")
    if across:
        picture.line((x + 2, y + ROW - 13), (x + CELL - 6, y + ROW - 13), "#ffffff", 2)


def _foot(picture: Picture, estate: Estate, y: int) -> int:
    keys = (
        (OPEN, "số dịch vụ được phép / services allowed"),
        (BREAKS, "mọi dịch vụ đều chặn chuỗi / every one ends a chain of hops"),
        (EXPIRING, "có luồng hết hạn / a flow of it expires"),
    )
    _keys(picture, y, [(colour, "none", words) for colour, words in keys])
    notes = (
        "gạch trắng: cả giữa các trung tâm / white bar: between sites too",
        "cấp: cấp độ an toàn của vùng / the zone's level",
        "mũi tên: với mạng bên ngoài / arrow: with an outside network",
    )
    picture.text(MARGIN, y + 20, " · ".join(notes), size=10)
    y += 42
    _keys(picture, y, [(layer.fill, layer.edge, f"{layer.title.vi} / {layer.title.en}") for layer in LAYERS])
    y += 28
    for name, external in estate.catalogue.externals.items():
        partners = [one.title for one in estate.catalogue.partners.values() if one.via == name]
        colour = RAILS[external.medium]
        picture.text(MARGIN, y, f"{external.title.vi} / {external.title.en}", fill=colour, style='font-weight="bold"')
        for words in _wrapped(", ".join(f"{one.vi} / {one.en}" for one in partners), 190):
            y += 14
            picture.text(MARGIN + 12, y, words, size=10)
        y += 20
    return y + 4


def _keys(picture: Picture, y: int, keys: list[tuple[str, str, str]]) -> None:
    x = MARGIN
    for fill, stroke, words in keys:
        picture.rect((x, y - 11), (14, 14), fill, stroke=stroke)
        picture.text(x + 20, y, words, size=10)
        x += 38 + 6 * len(words)


def _wrapped(words: str, width: int) -> list[str]:
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [line for line in lines if line]
