"""HTTP proxy that leads to package indexes only; image builds have no other way out.

It runs in a container of the base image, as ``python -c`` with the text of this file, so it imports
nothing of the harness.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pkgutil
import re
import select
import site
import socket
import socketserver
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

PORT = 3128
HEAD_BYTES = 64 << 10
"""Longest head of a request."""
SECONDS = 120.0
"""Longest silence of a connection."""


def target(line: str) -> tuple[str, int, str]:
    """Return host, port and the request line to send on; a tunnel sends none.

    >>> target("CONNECT index.example.org:443 HTTP/1.1")
    ('index.example.org', 443, '')
    >>> target("GET http://deb.example.org/debian/x?y HTTP/1.1")
    ('deb.example.org', 80, 'GET /debian/x?y HTTP/1.1')

    Raises:
        ValueError: the line is not of either form.
    """
    method, address, version = line.split(" ")
    if method == "CONNECT":
        host, _, port = address.rpartition(":")
        return host.lower(), int(port), ""
    url = urlsplit(address)
    if url.scheme != "http" or not url.hostname or method not in ("GET", "HEAD"):
        raise ValueError(line)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return url.hostname.lower(), url.port or 80, f"{method} {path} {version}"


def upstream(scheme: str, host: str, environment: Mapping[str, str]) -> tuple[str, int, str] | None:
    """Return the host's own proxy for an address: its name, port and credentials, or ``None``.

    >>> upstream("https", "index.example.org", {"https_proxy": "http://me:pw@proxy:8080"})
    ('proxy', 8080, 'bWU6cHc=')
    >>> upstream("https", "index.example.org", {"https_proxy": "http://a", "no_proxy": "x,.org"})
    """
    found = {name.lower(): value for name, value in environment.items()}
    spared = [one.strip().lstrip(".") for one in found.get("no_proxy", "").split(",")]
    url = urlsplit(found.get(f"{scheme}_proxy", ""))
    if not url.hostname or any(one and f".{host}".endswith(f".{one}") for one in spared):
        return None
    user = f"{url.username}:{url.password or ''}" if url.username else ""
    return url.hostname, url.port or 80, base64.b64encode(user.encode()).decode()


class Handler(socketserver.BaseRequestHandler):
    """One connection of a build: one tunnel, or one plain request."""

    hosts: Collection[str] = ()
    environment: Mapping[str, str] = os.environ

    def handle(self) -> None:
        """Read the head of the request, refuse it or pass it on, then pass bytes both ways."""
        self.request.settimeout(SECONDS)
        with contextlib.suppress(OSError, ValueError):
            head = b""
            while b"\r\n\r\n" not in head:
                chunk = self.request.recv(4096)
                if not chunk or len(head) > HEAD_BYTES:
                    return
                head += chunk
            first, _, rest = head.partition(b"\r\n")
            line = first.decode("ascii")
            host, port, sent = target(line)
            if host not in self.hosts or port != (80 if sent else 443):
                self.request.sendall(b"HTTP/1.1 403 Only package indexes\r\n\r\n")
                return
            through = upstream("http" if sent else "https", host, self.environment)
            with socket.create_connection(through[:2] if through else (host, port), SECONDS) as out:
                if through:
                    login = f"Proxy-Authorization: Basic {through[2]}\r\n" if through[2] else ""
                    out.sendall(f"{line}\r\n{login}".encode() + rest)
                elif sent:
                    headers, _, body = rest.partition(b"\r\n\r\n")
                    kept = [
                        one
                        for one in headers.split(b"\r\n")
                        if not one.lower().startswith((b"connection:", b"proxy-", b"host:"))
                    ]
                    kept += [b"Host: " + host.encode(), b"Connection: close"]
                    out.sendall(sent.encode() + b"\r\n" + b"\r\n".join(kept) + b"\r\n\r\n" + body)
                else:
                    self.request.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                # after a plain request only answers: a second one could name another host
                relay(self.request, out, both=not sent)


def relay(one: socket.socket, other: socket.socket, *, both: bool) -> None:
    """Pass bytes from the second side, or both ways, until one closes or is silent."""
    peers = {one: other, other: one} if both else {other: one}
    while True:
        ready, _, _ = select.select(list(peers), [], [], SECONDS)
        if not ready:
            return
        for source in ready:
            data = source.recv(1 << 16)
            if not data:
                return
            peers[source].sendall(data)


class Server(socketserver.ThreadingTCPServer):
    """The proxy."""

    daemon_threads = allow_reuse_address = True


def own_hosts() -> set[str]:
    """Return the hosts that pip and apt of this image take packages from."""
    sys.path += site.getsitepackages()  # the interpreter starts without them
    index = pkgutil.resolve_name("pip._internal.models.index:PyPI")  # of the image, not of ours
    found = {index.netloc, index.file_storage_domain}
    for path in Path("/etc/apt").rglob("*"):
        if path.suffix in (".list", ".sources") and path.is_file():
            found.update(re.findall(r"https?://([\w.-]+)", path.read_text("utf-8")))
    return found


if __name__ == "__main__":
    Handler.hosts = own_hosts().union(json.loads(sys.argv[1]))
    with Server(("", PORT), Handler) as server:
        os.write(1, b"ready\n")
        server.serve_forever()
