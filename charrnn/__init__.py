"""Train, inspect and sample character-level recurrent networks.

`load` and `train` give a `TrainedNetwork`, `train_events` the events of a run; they are imported when they are first asked for.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from charrnn.python import TrainedNetwork, load, load_classifier, train, train_events

__version__ = "0.1.0"
__all__ = [
    "CharrnnError",
    "CharrnnWarning",
    "TrainedNetwork",
    "UsageError",
    "__version__",
    "load",
    "load_classifier",
    "train",
    "train_events",
]

_LAZY = ("TrainedNetwork", "load", "load_classifier", "train", "train_events")


class CharrnnError(Exception):
    """A failure that is the situation's fault, not the program's.

    Its message is one line that says what is wrong, where, and what to do; the command line shows it without a
    traceback.
    """


class UsageError(CharrnnError):
    """A request that could never have worked: an option outside its interval, options that exclude each other."""


class CharrnnWarning(UserWarning):
    """What the command line would say as a warning."""


def __getattr__(name: str) -> object:
    """Import what is asked for by ``name``: `import charrnn` itself takes no time."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from charrnn import python

    found: object = getattr(python, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
