"""The proxy of image builds: it leads to the hosts that it knows, and passes bytes both ways."""

import contextlib
import http.client
import socket
import socketserver
import threading
from types import SimpleNamespace

import pytest

from harness.executors import index_proxy
from harness.executors.index_proxy import Handler, Server, target, upstream


class Echo(socketserver.BaseRequestHandler):
    """Answers with what it got; ends when nothing more comes."""

    def handle(self):
        self.server.got.append(self.request.recv(4096))
        self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + self.server.got[-1])


@contextlib.contextmanager
def serving(made):
    threading.Thread(target=made.serve_forever, daemon=True).start()
    with made:
        yield made
        made.shutdown()


@pytest.fixture
def index():
    """A package index on a port of its own."""
    made = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    made.daemon_threads, made.got = True, []
    with serving(made):
        yield made


@pytest.fixture
def proxy(index, monkeypatch):
    """The proxy, for which every name is this machine, and every port the index's."""

    def create_connection(address, timeout):
        asked.append(address)
        return socket.create_connection(index.server_address, timeout)

    asked = []
    monkeypatch.setattr(Handler, "hosts", ("index.example.org", "deb.example.org"))
    monkeypatch.setattr(Handler, "environment", {})
    with serving(Server(("127.0.0.1", 0), Handler)) as made:
        address = made.server_address

        def ask(text):
            with socket.create_connection(address, 5) as line:
                line.sendall(text)
                found = b""
                while chunk := line.recv(4096):
                    found += chunk
                return found

        replaced = SimpleNamespace(create_connection=create_connection)
        monkeypatch.setattr(index_proxy, "socket", replaced)
        yield ask, asked, address


@pytest.mark.parametrize(
    "line",
    [
        "CONNECT example.org:443 HTTP/1.1",
        "CONNECT index.example.org.evil:443 HTTP/1.1",
        "CONNECT evilindex.example.org:443 HTTP/1.1",
        "CONNECT index.example.org:22 HTTP/1.1",
        "CONNECT index.example.org:80 HTTP/1.1",
        "CONNECT 127.0.0.1:443 HTTP/1.1",
        "GET http://127.0.0.1/x HTTP/1.1",
        "GET http://169.254.169.254/latest HTTP/1.1",
        "GET http://index.example.org:8080/ HTTP/1.1",
        "GET http://index.example.org@127.0.0.1/ HTTP/1.1",
        "GET http://127.0.0.1#index.example.org/ HTTP/1.1",
    ],
)
def test_other_hosts_and_ports_are_refused(proxy, line):
    ask, asked, _ = proxy
    assert ask(line.encode() + b"\r\n\r\n").startswith(b"HTTP/1.1 403 ")
    assert asked == []


@pytest.mark.parametrize(
    "text",
    [
        b"POST http://index.example.org/legacy HTTP/1.1\r\n\r\n",
        b"GET file:///etc/passwd HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: index.example.org\r\n\r\n",
        b"CONNECT index.example.org HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\xff \xff \xff\r\n\r\n",
        b"CONNECT index.example.org:443  HTTP/1.1\r\n\r\n",
        b"x" * (index_proxy.HEAD_BYTES + 10_000) + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_ends_without_a_word(proxy, text):
    ask, asked, _ = proxy
    with contextlib.suppress(ConnectionError):
        assert ask(text) == b""
    assert asked == []


def test_a_tunnel_passes_bytes_both_ways(proxy):
    _, asked, address = proxy
    client = http.client.HTTPConnection(*address, timeout=5)
    client.set_tunnel("index.example.org", 443)
    client.request("GET", "/simple/")
    assert b"GET /simple/" in client.getresponse().read()
    assert asked[-1] == ("index.example.org", 443)
    client.close()


def test_a_plain_request_goes_to_the_named_host_once(proxy, index):
    ask, asked, _ = proxy
    said = ask(
        b"GET http://deb.example.org/x?y HTTP/1.1\r\nHost: evil\r\nConnection: keep-alive\r\n"
        b"Proxy-Authorization: x\r\nA: b\r\n\r\nGET http://evil/ HTTP/1.1\r\n\r\n"
    )
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert asked == [("deb.example.org", 80)]
    (got,) = index.got
    assert got.startswith(
        b"GET /x?y HTTP/1.1\r\nA: b\r\nHost: deb.example.org\r\nConnection: close"
    )
    assert b"Host: evil" not in got
    assert b"Proxy-" not in got


def test_it_goes_through_the_machines_own_proxy(proxy, index, monkeypatch):
    ask, asked, _ = proxy
    monkeypatch.setattr(Handler, "environment", {"HTTPS_PROXY": "http://me:pw@own:8080"})
    ask(b"CONNECT index.example.org:443 HTTP/1.1\r\nHost: index.example.org:443\r\n\r\n")
    assert asked == [("own", 8080)]
    assert index.got[0].startswith(
        b"CONNECT index.example.org:443 HTTP/1.1\r\nProxy-Authorization: Basic bWU6cHc=\r\nHost: "
    )


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"http_proxy": "http://a"}, None),
        ({"https_proxy": "http://a:3"}, ("a", 3, "")),
        ({"https_proxy": "http://a:3", "no_proxy": "org"}, None),
        ({"https_proxy": "http://a:3", "NO_PROXY": "x, .index.example.org"}, None),
        ({"https_proxy": "http://a:3", "no_proxy": "i.org,,"}, ("a", 3, "")),
    ],
)
def test_which_proxy_is_the_machines_own(environment, found):
    assert upstream("https", "index.example.org", environment) == found


def test_a_name_is_read_in_lower_case():
    assert target("CONNECT INDEX.example.org:443 HTTP/1.1")[0] == "index.example.org"
