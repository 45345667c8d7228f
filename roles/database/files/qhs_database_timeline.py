"""Numbers of timelines that no two sites give.

A server that is promoted takes the number after the last one that it knows of. Two sites that are apart would take the
same one. Patroni and `pg_rewind` look at numbers: they would have one follow the other afterwards, and keep rows that
the other never had. So each site has numbers of its own, and leaves those between to others, as if already given.
"""

import re
from pathlib import Path

LEFT = "left to another site"
NOWHERE = "0/1"
"""Where a timeline branched off that nobody is ever to follow: before all that any server has."""


def leave_others(log: Path, current: int, place: int, sites: int) -> list[int]:
    """Have the next promotion give a number of the site's own; which ones are left out.

    `log`: the folder with the server's log, `current`: its timeline, `place`: the site's among so many.
    """
    known = {int(one.stem, 16) for one in log.glob("*.history") if re.fullmatch("[0-9A-F]{8}", one.stem)}
    number, left = max({current} | known), []
    while (number + 1) % sites != place:
        number += 1
        name = f"{number:08X}.history"
        write(log / name, f"{number - 1}\t{NOWHERE}\t{LEFT}\n")
        # Who reads the log back from an archive goes from one number to the next, and stops where one is missing.
        (log / "archive_status" / f"{name}.ready").touch()
        left.append(number)
    return left


def position(log: str) -> int:
    """Of a place in a log, in bytes."""
    high, _, low = log.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def parted(history: str, number: int, reached: int) -> bool:
    """Whether a server of timeline `number` that has the log up to `reached`, in bytes, has some that nobody else has.

    `history`: of the timeline that it is to follow, a line for each before it: its number, and where the next began.
    """
    ends = {int(words[0]): position(words[1]) for words in map(str.split, history.splitlines()) if words}
    return number not in ends or ends[number] < reached


def write(path: Path, text: str) -> None:
    """The whole of it or nothing."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.rename(path)
