"""The one error that users cause and can mend.

Everything a person gets wrong (a file, an option, a missing runtime) is raised as `UserError`; the
command lines print it as one line and exit with code 2. Programming errors stay tracebacks.
"""

from fofa.plain_text import one_line


class UserError(Exception):
    """Bad input: the message says what is wrong, where, and what was expected.

    Kept to one line of plain text, because command lines print it as one; names in it may come from
    anywhere.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(" ".join(message.split())))
