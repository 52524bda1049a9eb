"""Broker between an attack and a network: the harness's own side of the border.

It runs in the service's process, which loads no module: the network lives in a child of its own
(``network_process``), the attack in another stage. It checks what an attack may ask, counts passes
and queries, and keeps what the network was shown. Either side may send anything. All tensors are
copied here, both ways: what was checked and counted cannot change any more, and a network sees
nothing by which to tell the broker's own requests from an attack's.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import select
import signal
import socket
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from harness.runtime.contracts import ContractError, Spec, as_input
from harness.runtime.tasks import TASKS
from harness.runtime.worker.access import Access
from harness.runtime.worker.failures import NetworkFailed
from harness.runtime.worker.kept_parts import keep
from harness.runtime.worker.network_link import NetworkLink
from harness.runtime.worker.network_process import ANSWERS, ASKS
from harness.runtime.worker.network_protocol import Connection, Message
from harness.runtime.worker.network_requests import check_request, check_values
from harness.runtime.worker.pass_health import PassHealth, Trial
from harness.runtime.worker.smoothed_network import network_of

MAX_GRAPHS = 64
"""Forward passes of a network that an attack may keep for a backward pass at once."""

MOST_BATCHES = 64
"""Rows of one request, in batches."""
ROUNDING = 1e-3
"""How far a value of an input may lie outside of [0, 1] and be a picture's all the same."""


class Broker:
    """Answers one attack.

    Args:
        link: connection to the network.
        spec: description of the data set.
        access: what the attack may ask.

    Attributes:
        passes: rows in forward and in backward passes.
        shown: outputs to the attacked inputs ``[kept, B, …]``, in the form that ``predict`` stores.
        digests: first row, number of rows and SHA-256 of the attacked inputs that were shown.
        goals: goals that were drawn, batch by batch.
        breach: what the attack did against the protocol, or empty.
        graphs: number of a forward pass that the attack keeps → shapes of its inputs and outputs.
        health: figures on the attack's backward passes.
    """

    def __init__(self, link: NetworkLink, spec: Spec, access: Access) -> None:
        self.link, self._spec, self.access = link, spec, access
        self._network = network_of(link, access)
        self.passes = {"forward": 0, "backward": 0}
        self.shown: list[Tensor] = []
        self.digests: list[tuple[int, int, str]] = []
        self.goals: list[Tensor] = []
        self.breach = ""
        self.graphs: dict[int, tuple[tuple[int, ...], list[tuple[int, ...]]]] = {}
        self.health = PassHealth()
        self._rows = torch.empty(0, dtype=torch.int64)
        self._goal_of_batch: Tensor | None = None
        self._count = 0
        self._pending = 0
        self._forms: set[bool] = set()
        self._asked = torch.empty(0)

    @property
    def load(self) -> int:
        """Return how many batches the attack has the network hold at present, rounded up."""
        rows = self._pending + sum(shape[0] for shape, _ in self.graphs.values())
        return -(-rows * self.access.samples // self.access.batch)

    def serve(self, server: socket.socket) -> None:
        """Answer on a listening socket until SIGTERM; one that is pending already counts too.

        Raises:
            NetworkFailed: the network cannot go on.
        """
        stopping = False

        def stop(*_: object) -> None:
            nonlocal stopping
            stopping = True
            raise _Stop

        signal.signal(signal.SIGTERM, stop)
        try:
            with server, contextlib.suppress(_Stop):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
                while not stopping:
                    channel, _ = server.accept()
                    with channel, contextlib.suppress(ConnectionError):
                        try:
                            self.serve_connection(Connection(channel))
                        except _Stop:
                            if not hung_up(channel):  # by the network, which may send signals too
                                raise NetworkFailed("module_error", STOPPED_EARLY) from None
                            raise
        finally:  # where the network has failed, the signal comes while its end is being reported
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def serve_connection(self, attack: Connection) -> None:
        """Answer the requests of one connection until it is closed, at whatever point that is.

        Raises:
            NetworkFailed: the network cannot go on.
        """
        while True:
            try:
                request = attack.receive()
                if request is None:
                    return
                self._answer(attack, request)
            except ContractError as error:
                self.breach = self.breach or str(error)
                attack.send(Message("error", text=str(error)))
            except NetworkFailed:
                if not is_picture(self._asked):
                    self.breach = self.breach or NO_PICTURE
                raise

    def _answer(self, attack: Connection, request: Message) -> None:
        self._asked = self._asked[:0]  # else a view of memory that is filled anew
        if request.kind in ASKS:
            self._forward(attack, request)
        elif request.kind in HANDLERS:
            HANDLERS[request.kind](self, attack, request)
        else:
            raise ContractError(f"a request that no model answers: {request.kind}")

    # -- batches ------------------------------------------------------------------------------

    def _begin(self, attack: Connection, request: Message) -> None:
        """Note the rows of the next batch; it begins where the last one was shown."""
        shown = sum(rows for _, rows, _ in self.digests)
        if request.first != shown:
            raise ContractError(f"a batch begins at row {request.first}, expected {shown}")
        left = self.access.examples - shown
        if not 0 < request.rows <= min(left, self.access.batch):
            raise ContractError(
                f"a batch of {request.rows} rows, of {left} that are left; at most "
                f"{self.access.batch}"
            )
        self._rows = torch.arange(request.first, request.first + request.rows)
        self._goal_of_batch = None
        self.health.begin(request.rows)
        attack.send(Message("answer"))

    def _show(self, attack: Connection, request: Message) -> None:
        """Keep the network's answer to what became of a batch; it is asked as attacks ask it."""
        (x,) = self._copies(attack, request)
        if len(x) != len(self._rows):
            raise ContractError(f"a batch of {len(self._rows)} rows ends with {len(x)}")
        if self.access.goal_inputs is not None:
            keep(self.goals, self._drawn_goal(self.access.goal_inputs), self.access.examples)
        found: list[Tensor] = []
        while len(found) < self.access.kept:
            found += self._ask_as_attack(x)
        answers = torch.stack([TASKS[self._spec.task].store(out) for out in found])
        keep(self.shown, answers, self.access.examples, dim=1)
        text = hashlib.sha256(x.contiguous().numpy().data).hexdigest()
        self.digests.append((int(self._rows[0]), len(x), text))
        self._rows, self._goal_of_batch = self._rows[:0], None
        self._forms.clear()
        self.health.end()
        attack.send(Message("answer"))

    def _goal(self, attack: Connection, request: Message) -> None:
        """Draw the goals of a batch: the classes that the network finds least likely."""
        if self.access.goal_inputs is None or not len(self._rows):
            raise ContractError("goals were asked for rows that have none")
        attack.send(Message("answer"), [self._drawn_goal(self.access.goal_inputs)])

    def _drawn_goal(self, inputs: Tensor) -> Tensor:
        """Return the goals of the batch, which are drawn once."""
        if self._goal_of_batch is None:
            x = as_input(inputs[self._rows], inputs.device)
            answers = torch.stack(self._ask_as_attack(x))
            self._goal_of_batch = answers.mean(dim=0).argmin(dim=1)
        return self._goal_of_batch

    def _ask_as_attack(self, x: Tensor) -> list[Tensor]:
        """Ask in a form that the attack has used for this batch, at random where it used several.

        A network that answered one form falsely would have to do so here.

        Returns:
            The answer of each pass, of which an attack gets the mean.
        """
        if self.access.ledger is not None:
            return self._network.answers("forward", x)
        forms = self._forms or {"forward" in self.access.asks}
        if not secrets.choice(sorted(forms)):
            return self._network.answers("predict", x)
        number = self._count = self._count + 1
        found = self._network.answers("forward", x, graph=number)
        self._network.free(number)
        return found

    # -- queries ------------------------------------------------------------------------------

    def _left(self, attack: Connection, request: Message) -> None:
        """Tell the queries left of the batch's rows."""
        ledger = self.access.ledger
        left = None if ledger is None else ledger.left(self._rows)
        kind = "unlimited" if left is None else "answer"
        attack.send(Message(kind), [] if left is None else [left])

    def _query(self, attack: Connection, request: Message) -> None:
        """Answer a query, and charge it to the examples that it is about."""
        ledger = self.access.ledger
        if ledger is None:
            raise ContractError("queries are not counted here")
        x, stated = self._copies(attack, request)
        if stated.dtype != torch.int64 or stated.shape != (len(x),):
            raise ContractError("a query names its rows as int64 [R]")
        if len(stated) and not 0 <= int(stated.min()) <= int(stated.max()) < len(self._rows):
            raise ContractError("a query names rows outside its batch")
        if not ledger.charge(x, self._rows[stated]):
            attack.send(Message("refused"))
            return
        self.passes["forward"] += len(x)
        self._pending = len(x)
        out = self.link.answer("forward", x)
        self._pending = 0
        attack.send(
            Message("answer"),
            [out.argmax(dim=1) if self.access.answers == "labels" else out],
        )

    # -- white-box passes ---------------------------------------------------------------------

    def _forward(self, attack: Connection, request: Message) -> None:
        """Pass a forward pass on."""
        if request.kind not in self.access.asks:
            raise ContractError(
                f"the attack used model.{request.kind}, which its manifest's needs: or the threat "
                "model does not grant"
            )
        keep = request.keep and request.kind != "predict"
        most = max(1, MAX_GRAPHS // self.access.samples)
        if keep and len(self.graphs) >= most:
            raise ContractError(
                f"the attack keeps more than {most} forward passes for a backward pass"
            )
        tensors = self.link.place(self._inputs(attack, request))
        check_values(request.kind, tensors, self._spec)
        if request.kind != "training_loss_of":
            self._asked = tensors[0]
        number = 0
        if keep:
            number = self._count = self._count + 1
        self._pending = len(tensors[0])
        outputs = attack.place(self._network.forward(request.kind, tensors, graph=number))
        self.link.count_outputs(outputs)
        self._pending = 0
        if request.kind in ANSWERS:
            self._forms.add(request.kind == "forward" and keep)
        if request.kind != "training_loss_of":
            self.passes["forward"] += len(tensors[0]) * self.access.samples
        if keep:
            self.graphs[number] = (
                tuple(tensors[0].shape),
                [tuple(one.shape) for one in outputs],
            )
            self.health.keep(number, request.kind, tensors)
        attack.send(Message("answer", graph=number))

    def _backward(self, attack: Connection, request: Message) -> None:
        """Pass a backward pass on."""
        if request.graph not in self.graphs:
            raise ContractError(
                "a second backward pass through one forward pass: keep its graph "
                "(retain_graph=True)"
            )
        shape, outputs = self.graphs[request.graph]
        wanted = [one for n, one in enumerate(outputs) if request.first >> n & 1]
        given = attack.views(request)
        floats = all(one.dtype == torch.float32 for one in given)
        if not given or not floats or [tuple(one.shape) for one in given] != wanted:
            raise ContractError("a backward pass whose gradients do not fit the outputs")
        if not request.keep:
            del self.graphs[request.graph]
        asked = Message("backward", graph=request.graph, first=request.first, keep=request.keep)
        self._pending = shape[0]
        placed = self.link.place(given)
        (gradient,) = attack.place([self._network.backward(asked, placed, shape)])
        self.link.count_gradient(placed, gradient)
        self._pending = 0
        self.passes["backward"] += shape[0] * self.access.samples
        rest = iter(placed)
        by_output = [next(rest) if request.first >> n & 1 else None for n in range(len(outputs))]
        trial = self.health.backward(request.graph, by_output, gradient)
        attack.send(Message("answer"))
        if trial is not None:
            self._try(trial, [n for n, one in enumerate(by_output) if one is not None])

    def _try(self, trial: Trial, wanted: list[int]) -> None:
        """Ask how outputs change, in the attack's form; it is no pass of the attack.

        Args:
            trial: what to ask.
            wanted: numbers of the outputs that count.
        """
        found: list[list[Tensor]] = [[] for _ in wanted]
        # no more rows at once than a batch has: their graph costs memory
        pieces = (torch.split(one, self.access.batch) for one in (trial.rows, *trial.tensors))
        for rows, *part in zip(*pieces, strict=True):
            number = self._count = self._count + 1
            placed = self.link.place(part)
            outputs = self._network.forward(trial.kind, placed, graph=number, again=rows)
            for kept, n in zip(found, wanted, strict=True):
                kept.append(outputs[n].clone())
            self._network.free(number)
        self.health.tried(trial, [torch.cat(parts) for parts in found])

    def _free(self, attack: Connection, request: Message) -> None:
        """Forget a forward pass."""
        self.health.free(request.graph)
        if self.graphs.pop(request.graph, None) is not None:
            self._network.free(request.graph)
        attack.send(Message("answer"))

    # -- checks -------------------------------------------------------------------------------

    def _inputs(self, attack: Connection, request: Message) -> list[Tensor]:
        """Return a request's tensors, where the attack may change their values at any time.

        Raises:
            ContractError: their number, types or shapes are wrong.
        """
        found = attack.views(request)
        check_request(request.kind, found, self._spec, MOST_BATCHES * self.access.batch)
        return found

    def _copies(self, attack: Connection, request: Message) -> list[Tensor]:
        """Return copies of a request's tensors.

        Raises:
            ContractError: their number, types, shapes or values are wrong.
        """
        copies = [one.clone() for one in self._inputs(attack, request)]
        check_values(request.kind, copies, self._spec)
        self._asked = copies[0]
        return copies


HANDLERS: Mapping[str, Callable[[Broker, Connection, Message], None]] = {
    "begin": Broker._begin,
    "show": Broker._show,
    "goal": Broker._goal,
    "left": Broker._left,
    "query": Broker._query,
    "backward": Broker._backward,
    "free": Broker._free,
}
"""Request → method that answers it, beside the passes of ``ASKS``."""


HANG_UP_SECONDS = 3.0
STOPPED_EARLY = "its process was told to stop while the attack was there, which we never do"
NO_PICTURE = "the network failed on inputs of the attack that are outside of [0, 1]"


def is_picture(x: Tensor) -> bool:
    """Return whether all values are finite and in [0, 1], up to rounding."""
    if not x.numel():
        return True
    least, most = torch.aminmax(x)  # both NaN if any value is
    return bool(least >= -ROUNDING) and bool(most <= 1 + ROUNDING)


def hung_up(channel: socket.socket) -> bool:
    """Return whether the other side closes a connection, or ends, while we wait a little.

    An attack that was killed at its limit may take a moment to end.
    """
    poll = select.poll()
    poll.register(channel, select.POLLRDHUP)
    return bool(poll.poll(1000 * HANG_UP_SECONDS))


class _Stop(Exception):
    """SIGTERM: the attack has ended."""
