"""A ``charrnn`` on the path of shell scripts that costs a fork: its server has imported everything once, torch too.

    python tests/forked.py serve SOCKET          # what `serving` starts
    python tests/forked.py call SOCKET [WORD]... # what the ``charrnn`` that `install` writes does

The command runs in a process of its own with the caller's streams, directory and environment, and ends with its exit code. It
says nothing of how a real program starts, is told signals and ends; tests of these start one.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path


def install(place: Path, sock: Path) -> None:
    """Write ``charrnn`` into the directory ``place``, which calls the server at the socket."""
    place.mkdir(exist_ok=True)
    command = place / "charrnn"
    # Neither site packages nor what the environment adds: nothing of them is needed to pass three descriptors on.
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -ISs "{__file__}" call "{sock}" "$@"\n', encoding="utf-8")
    command.chmod(0o755)


@contextlib.contextmanager
def serving() -> Iterator[Path]:
    """A server, and the socket that it listens at; its name must be short."""
    import subprocess
    import tempfile

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with tempfile.TemporaryDirectory() as folder:
        sock = Path(folder, "socket")
        command = [sys.executable, __file__, "serve", str(sock)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield sock


def call(sock: str, words: list[str]) -> int:
    """Have the command line run on this process's streams; its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sock)
        told = json.dumps([words, str(Path.cwd()), dict(os.environ)]).encode()
        socket.send_fds(connection, [len(told).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(told)
        code = connection.recv(1)
    return code[0] if code else 255  # It was killed.


def serve(sock: str) -> None:
    """Fork for each call, until stdin ends."""
    import crash

    crash.warm()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sock)
        listener.listen(16)
        os.write(1, b"ready\n")
        while listener in select.select([listener, 0], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                run(connection)
            connection.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def run(connection: socket.socket) -> None:
    """What a forked process does; never returns."""
    import traceback

    code = 99
    try:
        head, streams, _, _ = socket.recv_fds(connection, 4, 3)
        with connection.makefile("rb") as told:
            words, folder, environment = json.loads(told.read(int.from_bytes(head, "big")))
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        files = [open(number, mode, encoding="utf-8", closefd=False) for number, mode in enumerate("rww")]  # noqa: SIM115
        sys.stdin, sys.stdout, sys.stderr = files
        from charrnn import cli

        code = cli.run(words)
        for file in files[1:]:
            file.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        connection.send(bytes([code]))
        os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "call":
        sys.exit(call(sys.argv[2], sys.argv[3:]))
    serve(sys.argv[2])
