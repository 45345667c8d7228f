"""What the API refuses, and why."""


class RefusedError(Exception):
    """What the caller is told."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
