"""Hostile image builds: what they change stays behind, and nothing of them is left."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from harness.common.errors import UserError
from harness.config.dockerfile import parse
from harness.config.environments import Environment, environment_of
from harness.executors import image_build, image_steps, images
from harness.executors.image_archives import Context
from harness.executors.image_network import open_network
from harness.executors.image_sweep import BUILD, WORKSHOP
from harness.executors.images import KEY, Images, tag
from tests.support.containers import everything, ours
from tests.support.image_builds import build, inside
from tests.support.workspaces import matrix

pytestmark = pytest.mark.engine


HOSTILE = r"""RUN python -c 'import sysconfig as s; print(s.get_path("purelib"))' > /tmp/site && \
    echo 'import os; os.environ["EVIL"] = "1"' > "$(cat /tmp/site)/evil.pth" && \
    echo 'EVIL = 1' > "$(cat /tmp/site)/sitecustomize.py" && \
    echo 'raise SystemExit(3)' > "$(cat /tmp/site)/torch/__init__.py" && \
    echo /opt/evil.so > /etc/ld.so.preload && echo x > /etc/ld.so.cache && \
    mkdir -p /usr/local/bin && printf '#!/bin/sh\nexit 3\n' > /usr/local/bin/python && \
    chmod 755 /usr/local/bin/python && ln -sf /bin/true "$(readlink -f /usr/bin/python3)" || true
RUN ["/bin/sh", "-c", "rm -rf /usr/share/doc /opt/gauntlet && echo kept > /opt/kept.txt"]
"""

CLEAN = r"""import os, sys, importlib
        assert open("/opt/kept.txt").read() == "kept\n"
        assert "EVIL" not in os.environ and "sitecustomize" not in sys.modules
        assert not os.path.exists("/etc/ld.so.preload")
        assert os.path.getsize("/etc/ld.so.cache") > 100
        python = "/usr/local/bin/python"
        assert not os.path.exists(python) or os.path.getsize(python) > 100
        assert os.path.isdir("/usr/share/doc")
        assert sys.flags.no_site and sys.flags.no_user_site and sys.flags.safe_path
        assert sys.flags.hash_randomization == 0 and sys.flags.utf8_mode
        import iniconfig, attr
        assert iniconfig.__file__.startswith("/opt/packages/")
        assert attr.__file__.startswith("/opt/gauntlet/packages/")
        assert sys.path[-2:] == ["/opt/gauntlet/packages", "/opt/packages"]
        exit
        import subprocess
        code = "import attr, iniconfig, torch"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0
        return x"""


def test_what_a_build_does_to_the_base_reaches_no_stage(checkout, module, engine):
    """It replaces Python, torch and the loader's files and adds hooks: process 1 is the base's."""
    text = "RUN pip install iniconfig==2.3.0\n" + HOSTILE
    odd = module(text, CLEAN, pins="attrs==25.3.0\n")
    checkout.benchmark(matrix(attacks=["odd"]))
    done = checkout.run(executor="docker")
    (record,) = checkout.records().values()
    assert (record.status, record.reason) == ("ok", None), done.said
    environment = environment_of([odd])
    assert record.run.images["attack"] == engine.id_of(environment)
    made, base = (
        engine.client.images.get(engine.id_of(one)).attrs for one in (environment, Environment())
    )
    assert made["RootFS"]["Layers"][:-2] == base["RootFS"]["Layers"]
    for key in image_build.INHERITED:
        assert made["Config"].get(key) == base["Config"].get(key)
    assert set(made["Config"]["Labels"]) == {KEY, images.WHAT, BUILD}
    assert ours() == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("mkdir /opt/packages && touch /opt/packages/evil.pth", "/opt/packages/evil.pth, a start"),
        ("touch /opt/sitecustomize.py", "/opt/sitecustomize.py, a start-up hook of Python"),
        ("mkfifo /opt/pipe", "/opt/pipe, a device or a pipe"),
        ("mknod /opt/null c 1 3", "/opt/null, a device or a pipe"),
        ("rm -r /opt && ln -s / /opt", "/opt, which is no folder"),
        ("rm -r /opt", "cannot be built"),
        ("touch /usr/bin/tool", "no file below /opt"),
        ("false", "cannot be built: The command '/bin/sh -c false' returned a non-zero code: 1"),
    ],
)
def test_what_no_layer_may_hold_fails_the_build_and_leaves_nothing(module, engine, command, said):
    odd = module(f"RUN {command}")
    before = everything(engine)
    with pytest.raises(UserError) as caught:
        build(engine, odd)
    assert caught.value.where == "attacks/odd"
    assert said in caught.value.what
    assert len(str(caught.value).splitlines()) == 1
    assert everything(engine) == before


def test_a_failure_after_the_requirements_leaves_nothing_of_them(module, engine):
    odd = module(
        "RUN printf '\\033]0;title\\007ERROR: odd\\n' && exit 7", pins="iniconfig==2.3.0\n"
    )
    before = everything(engine)
    with pytest.raises(UserError, match="attacks/odd: the image cannot be built: ") as caught:
        build(engine, odd)
    assert str(caught.value).isprintable()
    assert everything(engine) == before


def test_rights_and_owners_do_not_survive(module, engine):
    odd = module(
        "RUN cp /bin/true /opt/t && chown 5:5 /opt/t && chmod 6755 /opt/t && ln /opt/t /opt/u"
    )
    environment, _ = build(engine, odd)
    assert inside(engine, environment, "stat -c '%a %u %g %h' /opt/t /opt/u") == "755 0 0 2\n" * 2


def test_a_dockerfile_cannot_change_anothers_requirements(module, engine):
    """An attack's instructions run beside the packages that a defence of the cell needs."""
    file = "/opt/gauntlet/packages/iniconfig/__init__.py"
    text = f"RUN echo evil > {file} && touch /opt/gauntlet/x /opt/y"
    environment, _ = build(engine, module(text, pins="iniconfig==2.3.0\n"))
    said = inside(engine, environment, f"cat {file}; ls /opt/*")
    assert "evil" not in said
    assert "class IniConfig" in said
    assert "/opt/y" in said
    assert "/opt/gauntlet/x" not in said


HANG = """
import sys
from pathlib import Path
from harness.config.environments import environment_of
from harness.executors.images import Images
from harness.workspace import Workspace
root = Path(sys.argv[1])
module = Workspace(root, root / "home").catalog.get("attack", "odd", "")
Images.connect().build([environment_of([module])], lambda line: print(line, flush=True))
"""


def test_a_killed_build_is_removed_by_the_next_start(checkout, module, engine):
    module("RUN touch /opt/x\nRUN echo asleep && sleep 300")
    before = everything(engine)
    with subprocess.Popen(
        [sys.executable, "-c", HANG, str(checkout.root)], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("asleep"):
                break
        assert everything(engine) != before
        process.send_signal(signal.SIGKILL)
    time.sleep(1)  # the engine ends the build on its own
    checkout.benchmark(matrix())
    checkout.run(executor="docker")
    assert everything(engine) == before


def test_a_build_that_prints_nothing_ends(module, engine, monkeypatch):
    odd = module("RUN echo asleep && sleep 60")
    before = everything(engine)
    monkeypatch.setattr(image_build, "IDLE_SECONDS", 3)
    with pytest.raises(UserError, match=r"cannot be built: it printed nothing for 0\.05 minutes"):
        build(engine, odd)
    time.sleep(2)
    engine.sweep()
    assert everything(engine) == before


def test_a_pruned_image_leaves_nothing(module, engine):
    before = everything(engine)
    environment, _ = build(engine, module("RUN touch /opt/x", pins="iniconfig==2.3.0\n"))
    assert environment.key in {built.key for built in engine.listing()}
    assert not any(name.startswith(WORKSHOP) for name in everything(engine)["tags"])
    keep = {built.key for built in engine.listing()} - {environment.key}
    assert [gone.key for gone in engine.prune(keep)] == [environment.key]
    assert everything(engine) == before


def test_a_volume_that_an_image_had_would_go_with_its_container(checkout, engine, monkeypatch):
    """No build makes such an image; should a base ever be one, nothing stays on the host."""
    name = f"{WORKSHOP}:volume"
    with open_network(engine.client) as network, closing(Context()) as context:
        made = image_build.Build(engine.client, "test", network, lambda _: None)
        made.run(f"FROM {tag(Environment())}\nVOLUME /data\n", context, name, labels={BUILD: ""})
    image = engine.client.images.get(name)
    assert image.attrs["Config"]["Volumes"] == {"/data": {}}
    before = everything(engine)
    monkeypatch.setattr(Images, "id_of", lambda *_: str(image.id))
    checkout.benchmark(matrix(attacks=["noop", "sign"]))
    checkout.run(executor="docker")
    assert {record.status for record in checkout.records().values()} == {"ok"}
    assert everything(engine) == before
    engine.client.images.remove(name, force=True)


LIKE = r"""from BASE
run echo one \
   # comment
   two \

  three
WorkDir work/dir
WORKDIR deeper
ENV CC=gcc CFLAGS="-O2 -g"
COPY tool.txt ./
COPY ["sub", "/opt/sub/"]
RUN [ "$CC" = gcc ] && echo "a\\b" 'c  d' $CFLAGS
RUN ["/bin/echo", "ü \"q\"", "\\"]
RUN ec\
ho x	tab
"""
"""Text that an engine follows; each form is here."""


def test_an_engine_would_do_what_was_read(engine):
    """The engine follows the author's text, and the one that was written anew: same steps."""
    files = {"tool.txt": b"t", "sub/a": b"a"}
    base = tag(Environment())
    steps = parse(LIKE.replace("BASE", "gauntlet-base").encode(), "Dockerfile", set(files))
    texts = {
        "": LIKE.replace("BASE", base),
        "files": image_steps.render(steps, base, {}, "files"),
    }
    found = []
    before = everything(engine)
    with open_network(engine.client) as network:
        made = image_build.Build(engine.client, "test", network, lambda _: None)
        for folder, text in texts.items():
            context = Context()
            for name, content in files.items():
                context.add(os.path.join(folder, name), content)
            made.run(text, context, f"{WORKSHOP}:test", labels={BUILD: "pid:[0] 1 1"})
            context.close()
            image = engine.client.images.get(f"{WORKSHOP}:test")
            commands = [one["CreatedBy"] for one in image.history()]
            commands = [re.sub(r"(file|dir|multi):\w+", "", one) for one in commands]
            found.append([one for one in commands if "PIP_TARGET" not in one])
            engine.client.images.remove(image.id, force=True)
    assert found[0] == found[1]
    assert len(found[0]) > 10
    assert everything(engine) == before
    assert json.dumps(found)
