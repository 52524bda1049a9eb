"""The undefended control: no hooks, so the victim is trained and used as it is."""


class Undefended:
    """What every defence is compared with."""
