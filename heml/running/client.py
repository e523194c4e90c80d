"""The `python` of `heml.running.warm`: a script that asks the warm process, of the standard library alone, so that it
starts in no time."""

import json
import os
import signal
import socket
import sys


def ask(python: str, path: str) -> None:
    """Have `-m module …` of this process's arguments run by who listens on the Unix socket `path`; run anything else,
    or if nobody listens, by `python` itself.
    """
    if sys.argv[1:2] != ["-m"] or len(sys.argv) < 3:
        os.execv(python, [python, *sys.argv[1:]])
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        os.execv(python, [python, *sys.argv[1:]])
    told = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, told)  # until it is known whom to pass them on to
    environment = {**os.environ, "HEML_CHAIN": " ".join(map(str, _chain()))}
    folder = os.getcwd()  # noqa: PTH109 (pathlib takes as long as all the rest)
    request = {"module": sys.argv[2], "arguments": sys.argv[3:], "folder": folder, "environment": environment}
    message = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(connection, [message], [0, 1, 2])
    connection.sendall(message[sent:])
    answers = connection.makefile("r")
    pid = int(answers.readline())
    for number in told:
        signal.signal(number, lambda number, _: os.kill(pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, told)
    answer = answers.readline()
    if not answer:
        sys.exit("error: the process that runs the stages has ended")
    status = int(answer)
    if status < 0:  # a signal ended it: end alike
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def _chain() -> list[int]:
    """This process and its parents up to DVC, which may run commands through a shell, as `heml.lifetime` reads it."""
    parent = os.getppid()
    try:
        with open(f"/proc/{parent}/stat") as file:  # noqa: PTH123
            name, _, rest = file.read().partition("(")[2].rpartition(")")
    except OSError:
        return [os.getpid(), parent]
    return [os.getpid(), parent, *([int(rest.split()[1])] if name.endswith("sh") else [])]
