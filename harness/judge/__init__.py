"""The judge: budgets and metrics, computed from artefacts by the harness. Pure functions, no I/O.

``budget`` measures perturbations, ``metrics`` scores outputs, ``statistics`` computes intervals and
tests, ``flags`` marks suspicious results. The judge needs numpy and scipy only: no module code, no
torch.
"""

METHOD = 1
"""Version of the judge's method, part of every record. Raise it by hand in each change that may
move a number that the judge computes (a rule, a denominator, an interval, a tolerance): records of
a lower version are then stale. Renaming, speed and wording do not count."""
