"""Train, inspect and sample character-level recurrent networks."""

__version__ = "0.1.0"


class CharrnnError(Exception):
    """A failure that is the situation's fault, not the program's.

    Its message is one line that says what is wrong, where, and what to do; the command line shows it without a
    traceback.
    """


class UsageError(CharrnnError):
    """A request that could never have worked: an option outside its interval, options that exclude each other."""
