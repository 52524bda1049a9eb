"""Jobs for tests of executors: complete orders of which a test sets what it needs."""

from dataclasses import replace

from harness.runtime.worker.job_file import JobFile, ModuleEntry

SPEC = {"task": "classification", "outputs": 3, "shape": [1, 2, 2], "classes": []}


def module_entry(kind, **changes):
    """A module's entry in a job."""
    entry = ModuleEntry(kind, f"/modules/{kind}", f"{kind}.py:Some", kind, ("fit",), {"a": 1}, ())
    return replace(entry, **changes)


def job_file(roles=("attack",), **changes):
    """A job whose modules are named by their roles."""
    file = JobFile(
        stage="learn",
        spec=SPEC,
        device="cpu",
        seed_root=(0, "learn", "some"),
        deadline=1.0,
        modules={role: module_entry(role) for role in roles},
        inputs={"train": "/data"},
        options={"threads": 1, "access": "none", "budget": {}},
        checkpoint="/checkpoint",
    )
    return replace(file, **changes)
