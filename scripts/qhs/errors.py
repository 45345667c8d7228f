"""The one kind of error that a user is meant to read."""


class UserError(Exception):
    """Something is wrong that the user can put right: what is wrong and where, then the way out."""

    def __init__(self, what: str, way_out: str) -> None:
        super().__init__(f"{what}\n  way out: {way_out}")
        self.what = what
        self.way_out = way_out
