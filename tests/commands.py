"""Commands in processes of their own, which begin with TensorFlow imported."""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

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
    with tempfile.TemporaryDirectory() as folder:
        outputs = [pathlib.Path(folder) / name for name in ("stdout", "stderr")]
        process = CONTEXT.Process(target=_run, args=(module, arguments, os.fspath(cwd), outputs))
        process.start()
        process.join()
        texts = [path.read_text() for path in outputs]
    return subprocess.CompletedProcess([module, *arguments], process.exitcode, *texts)


def _run(module, arguments, cwd, outputs):
    for descriptor, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(cwd)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
