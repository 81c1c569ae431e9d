"""The one error that users cause and can mend.

Everything a person gets wrong (a file, an option, a missing runtime) is raised as `UserError`; the
command lines print it as one line and exit with code 2. Programming errors stay tracebacks.
"""


class UserError(Exception):
    """Bad input: the message says what is wrong, where, and what was expected.

    Kept to one line, because command lines print it as one.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
