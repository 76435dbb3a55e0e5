"""The exceptions that a user of the command line is meant to see."""


class InputError(ValueError):
    """A file, value or setting that cannot be used.

    The message is one line: it names the file or value, what was expected, what was found, and the
    cure. The command line prints it without a traceback and exits with status 2.
    """


class NotCutOutError(InputError):
    """An opaque picture whose object could not be told from its background; a mask would do it."""
