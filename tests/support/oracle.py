"""An oracle in the test's own process, with the harness's ledger."""

import torch

from harness.runtime.contracts import QueryRefused
from harness.runtime.worker.query_ledger import QueryLedger


class Oracle:
    """What an attack holds in ``evasion-query``, for one batch.

    Inputs go through the network one at a time, so that an answer does not depend on the others.

    Attributes:
        ledger: the ledger of its queries; its ``counts`` are those of the rows.
    """

    def __init__(self, network, x, budget, spec, spent=None):
        self.spec, self.budget, self._network = spec, budget, network
        self.ledger = QueryLedger(x, budget, spent)
        self._rows = torch.arange(len(x))

    def predict(self, x, rows=None):
        if not self.ledger.charge(x, self._rows if rows is None else rows):
            raise QueryRefused("no query left")
        with torch.no_grad():
            out = torch.cat([self._network(one[None]) for one in x])
        return out.argmax(dim=1) if self.budget.answers == "labels" else out

    def left(self):
        return self.ledger.left(self._rows)
