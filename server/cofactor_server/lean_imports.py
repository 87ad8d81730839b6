"""Imports libraries without others that they take only because they are installed."""

import importlib
import sys


def import_without(name: str, unused: str) -> None:
    """Import a module while another one looks as if it were not installed.

    structlog imports rich, pygments and attrs wherever they are, for exceptions in color. Ours are logged by type and
    place alone. Without them a server takes 7 MB less and starts 0.1 s sooner.

    Args:
        name: What to import; if it is imported already, nothing happens.
        unused: The optional dependency to hide meanwhile.
    """
    if name in sys.modules or unused in sys.modules:
        return
    sys.modules[unused] = None  # type: ignore[assignment]  # the import system takes None for "not there"
    try:
        importlib.import_module(name)
    finally:
        del sys.modules[unused]
