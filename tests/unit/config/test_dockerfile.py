"""A module's Dockerfile: a closed list of instructions, and every trick that hides another."""

import json
import random
import re

import pytest

from harness.common.errors import UserError
from harness.config.dockerfile import FORBIDDEN, MAX_BYTES, READERS, VARIABLES, Instruction, parse
from tests.support.errors import raises_error

FILES = {"tool.txt", "sub/a.py", "sub/deep/b.py", "requirements.txt"}
BASE = "FROM gauntlet-base\n"


def read(text, files=FILES):
    data = text if isinstance(text, bytes) else text.encode()
    return parse(data, "m/Dockerfile", files)


def shell(command):
    return Instruction("RUN", ("/bin/sh", "-c", command))


ACCEPTED = {
    "plain": ("RUN echo a", (shell("echo a"),)),
    "lower case": ("run echo a", (shell("echo a"),)),
    "indented": ("  \tRUN\t echo a  ", (shell("echo a"),)),
    "continued": ("RUN echo a \\\n  b", (shell("echo a   b"),)),
    "spaces after the backslash": ("RUN echo a \\  \nb", (shell("echo a b"),)),
    "a name that is continued": ("R\\\nUN echo", (shell("echo"),)),
    "comments and empty lines inside": (
        "RUN echo a \\\n# c \\\n\n   # d\n b",
        (shell("echo a  b"),),
    ),
    "a comment that looks like a directive later": ("RUN a\n# escape=`", (shell("a"),)),
    "windows": ("RUN echo \\\r\n a\r\n", (shell("echo  a"),)),
    "a list": ('RUN ["a", "b c", "\\\\"]', (Instruction("RUN", ("a", "b c", "\\")),)),
    "the shell's [": ('RUN [ "$x" = y ] || z', (shell('[ "$x" = y ] || z'),)),
    "a comment within a command": ("RUN echo # no", (shell("echo # no"),)),
    "a word of options in a command": ("RUN x --mount=y", (shell("x --mount=y"),)),
    "a file": ("COPY tool.txt /opt/x", (Instruction("COPY", ("tool.txt", "/opt/x")),)),
    "a folder": ("COPY ./sub/deep /opt/", (Instruction("COPY", ("./sub/deep", "/opt/")),)),
    "everything": ("COPY . /opt/", (Instruction("COPY", (".", "/opt/")),)),
    "files": (
        'COPY ["tool.txt", "sub/a.py", "x/"]',
        (Instruction("COPY", ("tool.txt", "sub/a.py", "x/")),),
    ),
    "variables": (
        'ENV CC=gcc CFLAGS="-O2 -g" MAKEFLAGS=',
        (Instruction("ENV", ("CC=gcc", "CFLAGS=-O2 -g", "MAKEFLAGS=")),),
    ),
    "a folder to work in": ("WORKDIR /build/x-1", (Instruction("WORKDIR", ("/build/x-1",)),)),
}
"""What it shows → the lines after FROM, and what is read."""


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_allowed_is_read_as_an_engine_reads_it(name):
    text, found = ACCEPTED[name]
    assert read(f"# why\n\n{BASE}{text}\n") == found


REFUSED = {
    # code → text, line
    "dockerfile-foreign-base": ("FROM debian", 1),
    "dockerfile-base-with-name": ("FROM gauntlet-base AS x", 1),
    "dockerfile-base-with-platform": ("FROM --platform=linux/arm64 gauntlet-base", 1),
    "dockerfile-base-with-digest": ("FROM gauntlet-base@sha256:ab", 1),
    "dockerfile-base-from-variable": ("FROM $BASE", 1),
    "dockerfile-second-from": (BASE + BASE, 2),
    "dockerfile-second-from-continued": (BASE + "FR\\\nOM other", 2),
    "dockerfile-first-from-continued": ("FR\\\nOM other", 1),
    "dockerfile-arg-before-from": ("ARG X\n" + BASE, 1),
    "dockerfile-empty": ("\n# a\n", None),
    "dockerfile-syntax-directive": ("# syntax=evil/frontend\n" + BASE, 1),
    "dockerfile-syntax-directive-with-spaces": ("\n #\tSyntax = evil/frontend\n" + BASE, 2),
    "dockerfile-escape-directive": ("# escape=`\n" + BASE + "AD`\nD http://127.0.0.1/x y", 1),
    "dockerfile-check-directive": ("# check=skip=all\n" + BASE, 1),
    "dockerfile-slash-syntax": ("//syntax=evil/frontend\n" + BASE, 1),
    "dockerfile-add-address": (BASE + "ADD http://127.0.0.1/x y", 2),
    "dockerfile-add-continued": (BASE + "AD\\\nD http://127.0.0.1/x y", 2),
    "dockerfile-add-behind-comment": (BASE + "RUN a\nAD\\\n# c\n\nD http://127.0.0.1/x y", 3),
    "dockerfile-add-lower-case": (BASE + "aDd x y", 2),
    "dockerfile-copy-from": (BASE + "COPY --from=x a b", 2),
    "dockerfile-copy-from-continued": (BASE + "COPY \\\n--from=x a b", 2),
    "dockerfile-copy-from-second-word": (BASE + "COPY tool.txt --from=x /opt/", 2),
    "dockerfile-copy-chown": (BASE + "COPY --chown=1:1 tool.txt /opt/x", 2),
    "dockerfile-copy-link": (BASE + "COPY --link tool.txt /opt/x", 2),
    "dockerfile-copy-parent": (BASE + "COPY ../x /opt/x", 2),
    "dockerfile-copy-absolute": (BASE + "COPY /etc/passwd /opt/x", 2),
    "dockerfile-copy-missing": (BASE + "COPY nothing /opt/x", 2),
    "dockerfile-copy-manifest": (BASE + "COPY manifest.yaml /opt/x", 2),
    "dockerfile-copy-pattern": (BASE + "COPY *.txt /opt/", 2),
    "dockerfile-copy-variable": (BASE + "COPY $X /opt/", 2),
    "dockerfile-copy-to-variable": (BASE + "COPY tool.txt /opt/${X}", 2),
    "dockerfile-copy-to-parent": (BASE + "COPY tool.txt /opt/../etc/", 2),
    "dockerfile-copy-one-word": (BASE + "COPY tool.txt", 2),
    "dockerfile-copy-several-to-file": (BASE + "COPY tool.txt sub/a.py /opt/x", 2),
    "dockerfile-copy-heredoc": (BASE + "COPY <<EOF /opt/x\nEOF", 2),
    "dockerfile-run-mount": (BASE + "RUN --mount=type=cache,target=/x a", 2),
    "dockerfile-run-mount-continued": (BASE + "RUN \\\n --mount=type=cache,target=/x a", 2),
    "dockerfile-run-network": (BASE + "RUN --network=host a", 2),
    "dockerfile-run-security": (BASE + "RUN --security=insecure a", 2),
    "dockerfile-run-heredoc": (BASE + "RUN <<EOF\nADD x y\nEOF", 2),
    "dockerfile-run-empty": (BASE + "RUN", 2),
    "dockerfile-run-list-and-more": (BASE + 'RUN ["a"] && b', 2),
    "dockerfile-run-list-of-numbers": (BASE + "RUN [1]", 2),
    "dockerfile-run-empty-list": (BASE + "RUN []", 2),
    "dockerfile-run-list-with-nul": (BASE + 'RUN ["a\\u0000"]', 2),
    "dockerfile-run-list-with-surrogate": (BASE + 'RUN ["\\ud800"]', 2),
    "dockerfile-env-loader": (BASE + "ENV LD_PRELOAD=/opt/x.so", 2),
    "dockerfile-env-python": (BASE + "ENV PYTHONSTARTUP=/opt/x.py", 2),
    "dockerfile-env-path": (BASE + "ENV PATH=/opt/bin", 2),
    "dockerfile-env-home": (BASE + "ENV HOME=/opt", 2),
    "dockerfile-env-torch": (BASE + "ENV TORCH_LOGS=all", 2),
    "dockerfile-env-second": (BASE + "ENV CC=gcc LD_PRELOAD=x", 2),
    "dockerfile-env-old-form": (BASE + "ENV CC gcc", 2),
    "dockerfile-env-variable": (BASE + "ENV CC=$X", 2),
    "dockerfile-env-quote-ends-early": (BASE + 'ENV CC="a"LD_PRELOAD=b', 2),
    "dockerfile-env-empty": (BASE + "ENV", 2),
    "dockerfile-workdir-parent": (BASE + "WORKDIR /opt/../etc", 2),
    "dockerfile-workdir-variable": (BASE + "WORKDIR $X", 2),
    "dockerfile-workdir-two": (BASE + "WORKDIR /a /b", 2),
    "dockerfile-unknown": (BASE + "INCLUDE x", 2),
    "dockerfile-heredoc-end": (BASE + "RUN a\nEOF", 3),
    "dockerfile-two-backslashes": (BASE + "RUN a \\\\\nADD x y", 2),
    "dockerfile-ends-in-backslash": (BASE + "RUN a\nRUN b \\\n", 3),
    "dockerfile-no-break-space": (BASE + "RUN\u00a0a", 2),
    "dockerfile-zero-width-space": (BASE + "RUN a\u200bb", 2),
    "dockerfile-line-separator": (BASE + "RUN a\u2028ADD x y", 2),
    "dockerfile-next-line": (BASE + "RUN a\u0085ADD x y", 2),
    "dockerfile-vertical-tab": (BASE + "RUN\x0ba", 2),
    "dockerfile-form-feed": (BASE + "\x0cRUN a", 2),
    "dockerfile-carriage-return": (BASE + "RUN a\rADD x y", 2),
    "dockerfile-nul": (BASE + "RUN a\x00", 2),
    "dockerfile-right-to-left": (BASE + "RUN a \u202e b", 2),
    "dockerfile-byte-order-mark": ("\ufeff" + BASE, 1),
    "dockerfile-not-utf8": (BASE.encode() + b"RUN \xff", 2),
    "dockerfile-utf16": (BASE.encode("utf-16"), 1),
    "dockerfile-too-long": (BASE + "RUN " + "a" * MAX_BYTES, 1),
}  # fmt: skip


@pytest.mark.parametrize("code", REFUSED)
def test_each_trick_is_refused_at_its_line(code):
    text, line = REFUSED[code]
    where = "m/Dockerfile" + (f":{line}" if line else "")
    with raises_error(code, where=where):
        read(text)


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
@pytest.mark.parametrize("spelt", ["{}", "{} \\\n", "\\\n{}"])
def test_no_other_instruction_is_allowed(name, spelt):
    for word in (name, name.lower(), name[:2] + "\\\n" + name[2:]):
        with raises_error("dockerfile-other-instruction", where="m/Dockerfile:2", NAME=name):
            read(BASE + spelt.format(word) + " x y")


def test_the_lists_do_not_overlap():
    assert not FORBIDDEN & READERS.keys()
    assert not any(name.startswith(("LD_", "PYTHON", "TORCH", "CUDA", "OMP")) for name in VARIABLES)


PIECES = (
    "FROM ", "gauntlet-base", "RUN ", "COPY ", "ADD ", "ENV ", "VOLUME ", "--from=x ", "--mount=y ",
    "http://127.0.0.1/x ", "tool.txt ", "/opt/x", "\n", "\n", "\n", "\\\n", "\\ \n", "# c\n", " ",
    "\t", "<<EOF\n", '["a", "b"]', "[", '"', "`", "$X", "CC=gcc", "\r\n", "\r", "\x0b", "\u00a0",
    "# escape=`\n", "# syntax=x\n", "\\", "..",
)  # fmt: skip


def test_whatever_is_written_only_allowed_instructions_come_out():
    """Random texts of an author's pieces: each is refused at a line, or closed and harmless."""
    chance = random.Random(12)
    accepted, refused = 0, []
    for _ in range(20_000):
        text = BASE * chance.randint(0, 1) + "".join(chance.choices(PIECES, k=chance.randint(1, 9)))
        try:
            found = read(text)
        except UserError as error:  # any other error fails the test
            refused.append(str(error))
            continue
        accepted += 1
        for one in found:
            assert one.name in READERS, text
            assert all(word.isprintable() or "\t" in word for word in one.words), text
            assert json.dumps(one.words)
            if one.name == "COPY":
                assert not any(word.startswith("--") or "://" in word for word in one.words), text
                assert ".." not in str(one.words)
    assert accepted > 300
    assert all(re.match(r"m/Dockerfile(:\d+)?: ", said) and "\n" not in said for said in refused)
