"""Runs the cells of a table one after another, each by the command that trains any network."""

import contextlib
import datetime
import signal
import subprocess
import sys
import time

# The exit status of a command that was stopped by Ctrl-C, see `command_line`.
_INTERRUPTED = 130
# Seconds for a training to end by itself: after a Ctrl-C in the terminal, and after a signal.
_PATIENCE = 2
_MORE_PATIENCE = 30


def run_cells(plans):
    """Trains and certifies cells, and goes on with the next one where one fails.

    Args:
        plans: list of `CellPlan`.

    Returns:
        dict of number of cell to exit status, of those that failed.

    Raises:
        KeyboardInterrupt: if it was interrupted; the cell that was running has ended.
    """
    failed, start = {}, time.monotonic()
    for done, plan in enumerate(plans):
        left = len(plans) - done
        print(f"\n{_heading(plan, done, left, time.monotonic() - start)}", flush=True)
        status = run_training(plan.arguments)
        if status == _INTERRUPTED:
            raise KeyboardInterrupt
        if status:
            failed[plan.number] = status
            print(f"Failed: {plan.name} (exit status {status}).", file=sys.stderr, flush=True)
    return failed


def _heading(plan, done, left, seconds):
    text = f"{plan.name[0].upper()}{plan.name[1:]} ({left} to do"
    if done:
        # All cells have the same images and epochs, so that they take about the same.
        text += f", about {duration(seconds / done * left)}"
    return f"{text}), in {plan.directory}"


def duration(seconds):
    """Returns seconds as hours, minutes and seconds, such as '1:02:05'."""
    return str(datetime.timedelta(seconds=round(seconds)))


def run_training(arguments):
    """Runs `experiments.train` in a process of its own, and returns its exit status.

    The process writes to where this one writes. It is ended before this function is left by an
    exception, so that two processes never work in one folder.

    Args:
        arguments: list of str, flags.
    """
    command = [sys.executable, "-m", "experiments.train", *arguments]
    with _terminations_as_exits(), subprocess.Popen(command) as process:
        try:
            return process.wait()
        except BaseException:
            _end(process)
            raise


@contextlib.contextmanager
def _terminations_as_exits():
    """Makes SIGTERM an exception inside, so that what was begun is ended."""

    def leave(number, frame):
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(process):
    """Ends a process: it may have been interrupted as well, then by a signal, then by force."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
        return
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_MORE_PATIENCE)
        return
    process.kill()
    # After a KeyboardInterrupt Popen itself hardly waits.
    process.wait()
