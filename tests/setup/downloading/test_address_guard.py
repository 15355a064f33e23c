"""Only public addresses are connected to, whatever name or redirect leads there."""

import asyncio
import ipaddress
import socket
import threading

import aiohttp
import pytest

import setup.downloading.address_guard as guard
from setup.downloading.address_guard import (
    BlockedAddressError,
    guarded_connector,
    is_public,
    resolve,
)

REFUSED = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.1",
    "169.254.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "168.63.129.16",
    "192.88.99.1",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "100::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:7f00:1::",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "2001:4860:4860::8888",
]


@pytest.mark.parametrize("address", REFUSED)
def test_refused(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "block",
    [
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "0.0.0.0/8",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "192.0.0.0/24",
    ],
)
def test_blocks_are_refused_to_their_edges(block):
    network = ipaddress.ip_network(block)
    for address in (network[0], network[network.num_addresses // 3], network[-1]):
        assert not is_public(str(address))
        assert not is_public(f"::ffff:{address}")


def test_a_name_is_no_address():
    with pytest.raises(ValueError, match="example"):
        is_public("example.org")


@pytest.fixture
def names(monkeypatch):
    """Give names addresses; returns the table and counts the questions."""
    table, asked = {}, []

    async def getaddrinfo(self, host, port, **_):
        asked.append(host)
        if host not in table:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        addresses = table[host].pop(0) if isinstance(table[host][0], list) else table[host]
        return [(2, 1, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return table, asked


def test_every_address_of_a_name_is_checked(names):
    table, _ = names
    table["good"] = ["8.8.8.8", "2606:4700::1", "8.8.8.8"]
    assert asyncio.run(resolve("good", 80)) == ["8.8.8.8", "2606:4700::1"]
    for bad in ("127.0.0.1", "::1", "169.254.169.254"):
        for table["mixed"] in (["8.8.8.8", bad], [bad, "8.8.8.8"]):
            with pytest.raises(BlockedAddressError, match=bad):
                asyncio.run(resolve("mixed", 80))
    assert asyncio.run(resolve("mixed", 80, allow_private=True)) == ["169.254.169.254", "8.8.8.8"]


def ask(url, allow_private=False, **options):
    async def get():
        connector = guarded_connector(2, allow_private)
        limit = aiohttp.ClientTimeout(5)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limit) as session,
            session.get(url, **options) as answer,
        ):
            return await answer.read()

    return asyncio.run(get())


def why_not(url, **options):
    """The error that kept us from connecting."""
    with pytest.raises(aiohttp.ClientConnectorError) as error:
        ask(url, **options)
    return error.value.os_error


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"]
)
def test_our_own_machine_is_not_reached(server, host):
    """Literal addresses too, which aiohttp's resolver never sees."""
    server.answers["/a"] = server.body(b"secret")
    error = why_not(f"http://{host}:{server.http.server_port}/a")
    assert isinstance(error, BlockedAddressError)
    assert not server.asked


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.0.0.1", "0", "017700000001"])
def test_other_spellings_of_our_own_machine(server, host):
    server.answers["/a"] = server.body(b"secret")
    with pytest.raises((aiohttp.ClientError, ValueError)):
        ask(f"http://{host}:{server.http.server_port}/a")
    assert not server.asked


def test_allow_private_reaches_it(server):
    server.answers["/a"] = server.body(b"mine")
    assert ask(f"{server.root}/a", allow_private=True) == b"mine"


@pytest.mark.parametrize("where", ["http://127.0.0.1", "http://[::ffff:7f00:1]", "http://inside"])
def test_a_redirect_to_our_own_machine(server, names, monkeypatch, where):
    """127.0.0.7 plays a public server; the second hop is a literal address or a name."""
    names[0]["inside"] = ["127.0.0.1"]
    honest = guard.is_public
    monkeypatch.setattr(guard, "is_public", lambda ip: ip == "127.0.0.7" or honest(ip))
    front = type(server.http)(("127.0.0.7", 0), server.http.RequestHandlerClass)
    threading.Thread(target=front.serve_forever, args=(0.02,), daemon=True).start()
    port = server.http.server_port
    server.answers |= {"/a": server.body(b"secret"), "/b": server.body(b"open")}
    server.answers["/away"] = server.status(302, Location=f"{where}:{port}/a")
    server.answers["/near"] = server.status(302, Location="/b")
    try:
        root = f"http://127.0.0.7:{front.server_port}"
        assert ask(f"{root}/near") == b"open"
        assert isinstance(why_not(f"{root}/away"), BlockedAddressError)
    finally:
        front.shutdown()
        front.server_close()
    assert "/a" not in server.asked


def test_the_checked_address_is_the_one_that_is_connected_to(server, names):
    """A name that answers otherwise the second time is not asked a second time."""
    table, asked = names
    table["rebinding"] = [["127.0.0.1"], ["127.0.0.2"]]
    server.answers["/a"] = server.body(b"mine")
    url = f"http://rebinding:{server.http.server_port}/a"
    assert ask(url, allow_private=True) == b"mine"
    assert asked == ["rebinding"]


def test_a_name_that_turns_private_later_is_not_reached(server, names, monkeypatch):
    """The second look-up, after a redirect closed the connection, is checked as the first was."""
    table, asked = names
    honest = guard.is_public
    monkeypatch.setattr(guard, "is_public", lambda ip: ip == "127.0.0.7" or honest(ip))
    front = type(server.http)(("127.0.0.7", 0), server.http.RequestHandlerClass)
    threading.Thread(target=front.serve_forever, args=(0.02,), daemon=True).start()
    port = front.server_port
    table["rebinding"] = [["127.0.0.7"], ["127.0.0.1"]]
    table["other"] = [["127.0.0.1"]]
    moved = server.status(302, Location=f"http://other:{port}/a", Connection="close")
    server.answers |= {"/move": moved, "/a": server.body(b"secret")}
    try:
        assert isinstance(why_not(f"http://rebinding:{port}/move"), BlockedAddressError)
    finally:
        front.shutdown()
        front.server_close()
    assert asked == ["rebinding", "other"]
    assert "/a" not in server.asked


def test_the_next_address_is_tried_where_one_is_dead(server, names):
    table, _ = names
    table["two"] = ["127.0.0.77", "127.0.0.1"]  # our server listens at the second alone
    server.answers["/a"] = server.body(b"mine")
    url = f"http://two:{server.http.server_port}/a"
    assert ask(url, allow_private=True) == b"mine"


def test_a_name_without_address_is_a_connection_error(names):
    assert "does not resolve" in str(why_not("http://nowhere.example/"))
