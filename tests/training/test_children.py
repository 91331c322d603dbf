"""children: a forked process ignores what a group is sent, holds no file but its socket, and is told of when it ends."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from charrnn.training import children
from charrnn.training.children import fork, how_it_ended

pytestmark = pytest.mark.skipif(not children.can_fork(), reason="this system doesn't fork processes that compute")


def test_a_child_outlives_the_signals_of_its_group_and_holds_nothing_but_its_socket(tmp_path: Path) -> None:
    def work(connection: socket.socket) -> int:
        for number in children.IGNORED:
            os.kill(os.getpid(), number)
        links = (Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
        targets = sorted({str(link.readlink()).partition(":")[0] for link in links if link.is_symlink()})
        connection.sendall(" ".join(targets).encode())
        return 7

    with open(tmp_path / "locked", "w"):
        pid, connection = fork(work)
        with connection:
            assert connection.recv(4096) == b"/dev/null socket"
        assert how_it_ended(pid) == "has ended with code 7"
    assert how_it_ended(pid) == "has ended"


def test_a_child_that_fails_or_is_killed_is_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    pid, connection = fork(lambda _: 1 // 0)
    with connection:
        assert how_it_ended(pid) == "has ended with code 1"
    pid, connection = fork(lambda connection: len(connection.recv(1)))
    with connection:
        os.kill(pid, signal.SIGKILL)
        assert how_it_ended(pid) == "was killed by signal 9, perhaps because memory was short"
    assert capfd.readouterr() == ("", "")


def test_where_the_system_forks_no_more_nothing_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(children.os, "fork", refused)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BlockingIOError):
        fork(lambda _: 0)
    assert os.listdir("/proc/self/fd") == before
    assert not set(children.IGNORED) & signal.pthread_sigmask(signal.SIG_BLOCK, ())
