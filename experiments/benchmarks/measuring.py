"""How the benchmarks measure time and memory."""

import multiprocessing
import pathlib
import statistics
import time

_STATUS = pathlib.Path("/proc/self/status")


def interleaved_medians(functions, rounds):
    """Times functions in turn, so that what else the machine does meets all of them alike.

    Args:
        functions: dict of names and functions without arguments, which return when they are done.
        rounds: int, calls of each function after two that do not count.

    Returns:
        dict of names and median seconds.
    """
    seconds = {name: [] for name in functions}
    for round_index in range(-2, rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if round_index >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def peak_memory(make, *arguments):
    """Measures the memory that a function takes beyond what was there before its first call.

    A process of its own, with nothing left from others, makes the function and calls it twice.

    Args:
        make: picklable function that returns the function to be called.
        *arguments: arguments of `make`.

    Returns:
        int, bytes.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak_memory, (make, *arguments))


def _peak_memory(make, *arguments):
    function = make(*arguments)
    before = _status("VmRSS")
    # Sets the mark of the highest resident size back to the present one (Linux).
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    for _ in range(2):
        function()
    return _status("VmHWM") - before


def _status(name):
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"{_STATUS} has no entry {name}; the memory can be measured on Linux only.")
