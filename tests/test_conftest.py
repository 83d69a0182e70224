"""The guards that hold for every test."""

from __future__ import annotations

import socket

import pytest


def test_no_test_reaches_another_machine():
    with (
        socket.socket() as client,
        pytest.raises(RuntimeError, match=r"may not reach \('192\.0\.2\.1', 80\)"),
    ):
        client.connect(("192.0.2.1", 80))


def test_no_test_looks_up_another_machine():
    with pytest.raises(RuntimeError, match=r"may not reach 'example\.org'"):
        socket.create_connection(("example.org", 443))


def test_a_server_of_this_machine_can_be_reached():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()
