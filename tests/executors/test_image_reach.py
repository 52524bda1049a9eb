"""What an image build can reach: package indexes, and its own folder as it was read."""

import http.server
import threading

import pytest

from harness.common.errors import UserError
from harness.config.environments import environment_of
from harness.executors.image_network import open_network
from tests.support.image_builds import build, inside

pytestmark = pytest.mark.engine


@pytest.fixture
def server():
    """A server of the host's loopback; the paths that were asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made.server_address[1], asked
        made.shutdown()


REACH = """
import socket, sys, urllib.request
from pip._internal.models.index import PyPI
PORT = @PORT@
routes = [line.split() for line in open("/proc/net/route")]
here = socket.gethostbyname(socket.gethostname())
def reach(name, action):
    try:
        action()
        print(name)
    except OSError as error:
        print("no", name, error, file=sys.stderr)
def fetch(name, address):
    reach(name, lambda: urllib.request.urlopen(address, timeout=10))
def connect(name, *address):
    reach(name, lambda: socket.create_connection(address, 3))
connect("loopback", "127.0.0.1", PORT)
connect("localhost", "localhost", PORT)
connect("gateway", here.rpartition(".")[0] + ".1", PORT)
connect("metadata", "169.254.169.254", 80)
reach("names", lambda: socket.gethostbyname(PyPI.netloc))
fetch("loopback by the proxy", f"http://127.0.0.1:{PORT}/")
fetch("another host", "https://example.org/")
fetch("another host, plain", "http://example.org/")
fetch("index", PyPI.simple_url + "/iniconfig/")
"""
"""What a build tries to reach; it prints what it did."""


def test_a_build_reaches_package_indexes_and_nothing_else(module, engine, server):
    port, asked = server
    text = "COPY reach.py /tmp/\nRUN python /tmp/reach.py > /opt/reached\n"
    text += "RUN pip install iniconfig==2.3.0"
    environment, said = build(
        engine, module(text, files={"reach.py": REACH.replace("@PORT@", str(port))})
    )
    assert inside(engine, environment, "cat /opt/reached; ls /opt").split() == [
        "index",
        "packages",
        "reached",
    ]
    assert asked == []
    assert any("403 Only package indexes" in line for line in said)


def test_containers_of_a_build_cannot_reach_each_other(engine):
    client = engine.client
    with open_network(client) as made:
        network = made.name
        listen = "import socket; s = socket.create_server(('', 80)); s.accept()"
        other = client.containers.run(
            engine.id_of(None), ["python", "-c", listen], detach=True, network=network
        )
        try:
            other.reload()
            address = other.attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
            connect = (
                "import socket; s = socket.socket(); s.settimeout(2); "
                f"print(s.connect_ex(('{address}', 80)))"
            )
            said = client.containers.run(
                engine.id_of(None), ["python", "-c", connect], network=network, remove=True
            )
        finally:
            other.remove(force=True, v=True)
    assert said.strip() != b"0"


def test_files_that_change_while_an_image_is_built_are_refused(module, engine, monkeypatch):
    odd = module("COPY . /opt/", files={"data.txt": "old"})
    assert odd.digest
    (odd.folder / "data.txt").write_text("new")
    with pytest.raises(UserError, match="attacks/odd: its files changed while its image was built"):
        build(engine, odd)


def test_a_link_that_appears_before_the_build_is_refused_by_name(module, engine, tmp_path):
    odd = module("COPY . /opt/", files={"data.txt": "old"})
    assert odd.digest
    environment = environment_of([odd])
    secret = tmp_path / "secret"
    secret.write_text("old")  # even of the same content
    (odd.folder / "data.txt").unlink()
    (odd.folder / "data.txt").symlink_to(secret)
    with pytest.raises(UserError, match=r"attacks/odd/data.txt: a link in a module's folder"):
        engine.build([environment], lambda _: None)


def test_names_of_a_modules_files_mean_nothing_to_the_engine(module, engine):
    files = {
        ".dockerignore": "*\n",
        "Dockerfile.gauntlet": "FROM scratch\n",
        "Dockerfile.dockerignore": "*\n",
    }
    environment, _ = build(engine, module("COPY . /opt/", files=files))
    assert set(inside(engine, environment, "ls -A /opt").split()) == {
        *files,
        "attack.py",
        "Dockerfile",
    }
