"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """Input that cannot be used as it is.

    The message is one line and says what was wrong, where, what is allowed and what to do.
    The command line prints it on stderr and exits with status 2, without a traceback.
    """


class StorageError(UserError):
    """A place that cannot be written: disk full, no permission, folder gone. Finished work stays, and can go on."""


_LONGEST = 2000


def counted(count: int, one: str, many: str = "") -> str:
    """A number and its noun: "1 frame", "2 frames"; `many` is for a plural that is not `one` and an s."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def any_of(count: int, one: str) -> str:
    """Where something is nowhere: in "any of the 5 frames", in "the only frame"."""
    return f"the only {one}" if count == 1 else f"any of the {count} {one}s"


def printable(text: str) -> str:
    """A message as one line for a terminal: names of files may hold anything, also what moves its cursor.

    Control characters are shown as spaces; a very long text loses its middle.
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST * 2 // 3]} [...] {text[-_LONGEST // 3 :]}"
    return "".join(char if char.isprintable() else " " for char in text)
