"""Commands in processes of their own, which begin with TensorFlow imported."""

import contextlib
import importlib
import importlib.util
import multiprocessing
import os
import pathlib
import re
import runpy
import subprocess
import sys
import tempfile

from absl import flags

# Its processes are forked from one that has imported these modules, and done nothing else: no flag
# is defined, no device in use, no random number drawn. To import them takes longer than most
# commands do.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["lsrs_tf", "lsrs_tf.models", "scipy.stats"])


def run_command(module, *arguments, cwd="."):
    """Runs `python -m module arguments`, up to the start of Python.

    Returns:
        `subprocess.CompletedProcess` with what it wrote.
    """
    return _run_in_process(_run_module, module, arguments, cwd)


def run_code(code, *arguments):
    """Runs `python -c code arguments`, up to the start of Python, as `run_command` does."""
    return _run_in_process(_run_code, code, arguments)


@contextlib.contextmanager
def started_code(code, *arguments):
    """Starts `python -c code arguments`, up to the start of Python, and kills it at the end.

    Yields:
        (`multiprocessing.Process`, function that returns what it has written to stdout and stderr).
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = [pathlib.Path(folder) / name for name in ("stdout", "stderr")]
        process = CONTEXT.Process(target=_run, args=(_run_code, code, arguments, ".", outputs))
        process.start()
        try:
            yield process, lambda: "".join(path.read_text() for path in outputs if path.exists())
        finally:
            process.kill()
            process.join()


def _run_in_process(run, what, arguments, cwd="."):
    with tempfile.TemporaryDirectory() as folder:
        outputs = [pathlib.Path(folder) / name for name in ("stdout", "stderr")]
        process = CONTEXT.Process(target=_run, args=(run, what, arguments, os.fspath(cwd), outputs))
        process.start()
        process.join()
        texts = [path.read_text() for path in outputs]
    return subprocess.CompletedProcess([what, *arguments], process.exitcode, *texts)


def _run(run, what, arguments, cwd, outputs):
    for descriptor, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(cwd)
    run(what, arguments)


def _run_module(module, arguments):
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _run_code(code, arguments):
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


@contextlib.contextmanager
def imported_command(name):
    """Imports a command whose flags have names that others have as well, and forgets it again.

    Yields:
        The module, with its own flags parsed from none.
    """
    source = pathlib.Path(importlib.util.find_spec(name).origin).read_text()
    own = re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', source)
    others = {flag: flags.FLAGS[flag] for flag in own if flag in flags.FLAGS}
    _forget(others)
    module = importlib.import_module(name)
    try:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS([name])
        yield module
    finally:
        _forget(own)
        for flag, value in others.items():
            flags.FLAGS[flag] = value
        del sys.modules[name]


def _forget(names):
    for name in names:
        delattr(flags.FLAGS, name)
