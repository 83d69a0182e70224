"""What holds for every test: no network, a CUDA device where one is needed, and the folder of real inputs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

# Set before anything imports huggingface_hub, which reads it once.
# `HF_HUB_OFFLINE=0 pytest -m network` goes online.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
REQUIRE_SHARED = "LONGBENCH_RUN_REQUIRE_SHARED"

# A shared machine has no steady clock, and CI must not find a new example in somebody else's change.
# The same examples on every run, so that a test that passed passes again; `--hypothesis-profile=search` draws others.
hypothesis.settings.register_profile("longbench-run", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.load_profile("longbench-run")


class NetworkBlocked(RuntimeError):
    """A test without the marker `network` tried to leave this machine.

    No OSError: libraries take one for a bad connection, and go on.
    """


def is_local(family: int | None, address: object) -> bool:
    """Say whether an address stays on this machine."""
    if family is not None and family not in {socket.AF_INET, socket.AF_INET6}:
        return True
    host = address[0] if isinstance(address, tuple) else address
    return host in {None, "", "localhost", "127.0.0.1", "::1", b"localhost", b"127.0.0.1"}


def block_network(patch: pytest.MonkeyPatch) -> None:
    """Refuse connections and name look-ups that leave this machine."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(address):
        message = f"this test may not reach {address!r}: mark it `network`, or make its data here"
        raise NetworkBlocked(message)

    def guarded_connect(self, address):
        return connect(self, address) if is_local(self.family, address) else refuse(address)

    def guarded_connect_ex(self, address):
        return connect_ex(self, address) if is_local(self.family, address) else refuse(address)

    def guarded_getaddrinfo(host, *args, **kwargs):
        return getaddrinfo(host, *args, **kwargs) if is_local(None, host) else refuse(host)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Keep every test, its fixtures included, on this machine, unless it is marked `network`."""
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("network") is None:
            block_network(patch)
        return (yield)


def pytest_collection_modifyitems(items):
    """Begin with the files that hold slow tests: `--dist loadfile` would leave a core idle behind one that comes last."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup(item):
    """Skip what needs a CUDA device where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device, and this machine has none")


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return ../shared, the folder of real inputs; a public clone has none and skips."""
    if not SHARED.is_dir():
        reason = "needs the real inputs in ../shared, which a public clone does not have"
        if os.environ.get(REQUIRE_SHARED):
            pytest.fail(f"{reason}; {REQUIRE_SHARED} is set, so they must be there")
        pytest.skip(reason)
    return SHARED


def pytest_terminal_summary(terminalreporter):
    """Say how many tests read ../shared: a run in which all of them were skipped must not look complete."""
    ran = sum("shared" in report.keywords for report in terminalreporter.stats.get("passed", []))
    terminalreporter.write_line(f"{ran} passed tests read ../shared")


def pytest_itemcollected(item):
    """Mark the tests that read ../shared, so that `-m shared` selects them."""
    if "shared" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.shared)
