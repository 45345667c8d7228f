"""What SoftHSM alone needs: at each login it empties the file of a token and writes it anew, and a host that dies in
between has lost the token. Whoever has the turn to log in keeps a copy first.
"""

import os
import shutil
from pathlib import Path

COPY = "token.kept"


def keep(folder: Path) -> None:
    """Have a copy of each token's file, or the file from its copy. The keys have files of their own."""
    for file in folder.glob("*/token.object"):
        copy, content = file.with_name(COPY), file.read_bytes()
        if content:
            if not copy.is_file() or copy.read_bytes() != content:
                _write(copy, content)
        elif copy.is_file():
            _write(file, copy.read_bytes())
        else:  # whoever made it died before anybody was told of it
            shutil.rmtree(file.parent)


def forget(folder: Path, serial: str) -> None:
    """Take away what is left of a token that holds nothing any more: its file last, by which it is found again."""
    for own in folder.glob(f"*-{serial[:4]}-{serial[4:]}"):
        file = own / "token.object"
        for one in own.iterdir():
            if one != file:
                one.unlink()
        file.unlink()
        own.rmdir()


def _write(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
