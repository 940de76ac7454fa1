"""The command ``radfast``: every message for a person is one clear line, every exit code means one thing."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from radfast.errors import RadfastError

EXIT_BUG = 1
EXIT_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 ok, 2 usage, 3 nothing found, 4 done with some inputs rejected, 5 cannot write, 1 a bug,
    130 stopped by Ctrl-C.
    """
    from radfast.cli.commands import app

    try:
        code = app(arguments, standalone_mode=False)
    except RadfastError as error:
        _say(f"radfast: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  (the last door: a traceback may hold patient data)
        sys.exit(_explain(error))
    if code == EXIT_INTERRUPTED:  # some versions of typer catch Ctrl-C themselves and return this code
        _say("radfast: stopped; the same command goes on from the last finished stage")
    sys.exit(code or 0)


def _explain(error: Exception) -> int:
    # typer carries a click of its own in some versions: usage errors are known by what they can do.
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if callable(show) and isinstance(code, int):
        show()
        return code
    if os.environ.get("RADFAST_TRACEBACK"):
        traceback.print_exception(error)
        return EXIT_BUG
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    _say(f"radfast: a bug: {type(error).__name__} at {place}; RADFAST_TRACEBACK=1 shows all of it")
    return EXIT_BUG


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201
