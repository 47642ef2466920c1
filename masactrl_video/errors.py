"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """Input that cannot be used as it is.

    The message is one line and says what was wrong, where, what is allowed and what to do.
    The command line prints it on stderr and exits with status 2, without a traceback.
    """


class StorageError(UserError):
    """A place that cannot be written: disk full, no permission, folder gone. Finished work stays, and can go on."""
