"""How a command that can be gone on with ends: its exit status, and the way out on stderr."""

import sys
from collections.abc import Callable

from setup.engine import WorkerLost

FAILED, INTERRUPTED = 2, 130  # 130: what shells give a command that Ctrl-C ended


def exit_status(command: Callable[[], None]) -> int:
    """Run a command; what a user can mend becomes a line on stderr, not a traceback.

    Returns:
        0, or 2 for bad input, a lost worker or a failing disk, or 130 where it was interrupted.
    """
    try:
        command()
    except (ValueError, WorkerLost) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"error: {error}; then run the same command again to go on", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return 0
