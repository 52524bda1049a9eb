"""Undefended control: no hooks, so the victim is trained and used as it is."""


class Undefended:
    """Control that every defence is compared with."""
