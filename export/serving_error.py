class ServingError(OSError):
    """A request that a server did not answer.

    Args:
        code: str, the canonical name of the error, such as 'DEADLINE_EXCEEDED',
            'INVALID_ARGUMENT', 'NOT_FOUND' or 'UNAVAILABLE'.
        message: str.

    Attributes:
        code: str.
    """

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code
