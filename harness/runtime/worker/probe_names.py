"""Names of the honest mistakes that the conformance stages look for; without torch.

The stages write what they found, by these names, into ``findings.json``; conformance expects every
name of its kind there.
"""

from __future__ import annotations

FINDINGS = "findings.json"
"""File with name → what was found; an empty text means nothing."""

REBUILD = "weights fit a network that is built anew"
FORM = "answers have the task's form"
FLOAT32 = "answers are float32"
PLACE = "answers keep to the device and the gradient mode"
UNCHANGED = "inputs are left unchanged"
OWN_MEMORY = "answers lie in new memory"
REPEAT = "answers repeat"
BATCH = "answers do not depend on the batch"
ONE_ROW = "a batch of one row"
ANY_SIZE = "a smaller last batch"

NETWORK = (
    *(REBUILD, FORM, FLOAT32, PLACE, UNCHANGED, OWN_MEMORY),
    *(REPEAT, BATCH, ONE_ROW, ANY_SIZE),
)
"""What is looked for in a network."""

ATTACK = (FORM, FLOAT32, UNCHANGED, OWN_MEMORY, BATCH, ONE_ROW)
"""What is looked for in the hook of an attack that makes test inputs."""

RANDOM_EXEMPT = (REPEAT, BATCH)
"""What does not hold for a module that draws random numbers."""
