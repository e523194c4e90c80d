"""Errors that a person can act on, and how a command line ends when one is raised."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class HemlError(Exception):
    """Something the user can put right: names the file, key or value, what was expected and what to do."""


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn the errors a user can act on into one message on stderr and exit status 1.

    A bug keeps its traceback; a full disk is named as one, since the traceback would hide it.
    """
    try:
        yield
    except HemlError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\ninterrupted; whatever had ended is kept", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            sys.exit(
                f"error: no space left while writing {error.filename or 'an output'} ({error.strerror}); "
                "nothing half-written was kept: free some space and run the same command again"
            )
        raise
