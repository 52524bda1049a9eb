"""Attacks that use up the machine or end their watchers, in containers only; forged arrays."""

from __future__ import annotations

GREEDY = {
    "fills-out": (
        "fills the disk with its output",
        """with open(ctx.state.parent / "fill", "wb") as file:
            while True:
                file.write(bytes(1 << 20))""",
        "module_error",
        "No space left on device",
    ),
    "fills-scratch": (
        "fills the disk with scratch",
        """with open("fill", "wb") as file:
            while True:
                file.write(bytes(1 << 20))""",
        "module_error",
        "No space left on device",
    ),
    "fills-shared-memory": (
        "fills /dev/shm",
        """with open("/dev/shm/fill", "wb") as file:
            while True:
                file.write(bytes(1 << 20))""",
        "module_error",
        "No space left on device",
    ),
    "makes-holes": (
        "leaves files that claim far more than they are",
        """for name in range(20):
            with open(ctx.state.parent / str(name), "wb") as file:
                file.truncate(1 << 30)
        return x""",
        "contract_violation",
        "the output claims",
    ),
    "makes-files": (
        "makes a million files",
        """for name in range(1_000_000):
            open(f"{name}", "wb").close()""",
        "module_error",
        "No space left on device",
    ),
    "kills-its-supervisor": (
        "kills its parent",
        """import os
        os.kill(os.getppid(), 9)
        import time; time.sleep(60)""",
        "module_error",
        "the stage killed its supervisor process",
    ),
    "kills-everything": (
        "kills whatever it sees",
        """import os
        os.kill(-1, 9)
        import time; time.sleep(60)""",
        "module_error",
        "the stage killed its supervisor process",
    ),
    "starves-process-1": (
        "becomes many processes that are smaller than process 1, so that the kernel kills that",
        """import os
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("0")
        fills = "kept = b'1' * (100 << 20); import time; time.sleep(60)"
        spawns = f'''import subprocess, time
for _ in range(16):
    subprocess.Popen(["python", "-S", "-E", "-c", {fills!r}])
time.sleep(60)'''
        os.execvp("python", ["python", "-S", "-E", "-c", spawns])""",
        "out_of_memory",
        "host memory: ",
    ),
    "interrupts-process-1": (
        "interrupts process 1, for which Python has a handler, so that it exits with 130",
        """import os, signal, time
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
            os.kill(1, number)
        time.sleep(0.5)
        return x""",
        "ok",
        "",
    ),
    "crashes-process-1": (
        "sends process 1 every signal, then kills its parent",
        """import os
        for number in range(1, 65):
            os.kill(1, number)
        os.kill(os.getppid(), 9)
        import time; time.sleep(60)""",
        "module_error",
        "the stage killed its supervisor process",
    ),
    "stops-its-supervisor": (
        "stops its parent and stays",
        """import os
        os.kill(os.getppid(), 19)
        import time; time.sleep(600)""",
        "timeout",
        "stopped from outside",
    ),
    "makes-a-device": (
        "leaves a device in its output",
        "import os; os.mknod(ctx.state.parent / 'disk', 0o060666, os.makedev(8, 0)); return x",
        "module_error",
        "PermissionError",
    ),
}
"""Name → what it tries, the body of ``perturb``, its status in a container, words of the reason."""

FORGED_ARRAYS = {
    "pickles": (
        "leaves a pickle in an array file, which runs code when it is read",
        """(folder / "attacked").mkdir(exist_ok=True)
        class Bomb:
            def __reduce__(self):
                return os.system, ("touch @CANARY@.pickled",)
        bombs = np.array([Bomb()], dtype=object)
        np.save(folder / "attacked" / "x.npy", bombs, allow_pickle=True)""",
        "the output cannot be used",
    ),
    "zips": (
        "leaves an archive in place of an array",
        """(folder / "attacked").mkdir(exist_ok=True)
        with open(folder / "attacked" / "x.npy", "wb") as file:
            np.savez_compressed(file, x=np.zeros(1 << 22))""",
        "the output cannot be used",
    ),
    "claims-terabytes": (
        "leaves an array whose header claims terabytes",
        """(folder / "attacked").mkdir(exist_ok=True)
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1, 8, 8)}
        with open(folder / "attacked" / "x.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)""",
        "the output cannot be used",
    ),
}
"""Name → what it tries, what it writes, words of the reason; contract violations everywhere."""
