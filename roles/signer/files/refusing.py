"""What a caller is told when it gets no signature."""


class NoSignatureError(Exception):
    """With the HTTP status that says whose fault it is, and a word for why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code
