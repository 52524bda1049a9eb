"""The judge: budgets and metrics, computed from artefacts by our own code. Pure functions, no I/O.

``budget`` measures what an attack changed, ``metrics`` and ``segmentation`` score what a network
answered, ``statistics`` says how sure a number is, ``flags`` says what looks wrong. The judge needs
numpy and scipy only: no module code, no torch.
"""

METHOD = 1
"""The method's number, part of every record. Raise it by hand in the same change that may move any
number the judge computes (a rule, a denominator, an interval, a tolerance): records made under a
lower number are then shown as stale. Renaming, speed and wording leave it alone."""
