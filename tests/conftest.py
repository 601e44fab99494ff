import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Tests run what XLA compiles once or twice: the program that is found faster is the better one.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import keras
import pytest
import tensorflow as tf

if "PYTEST_XDIST_WORKER" in os.environ:
    # The processes of the tests divide the cores; threads that wait for work keep a core busy.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def pytest_collection_finish():
    """Keeps the many objects of imported modules out of every further garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Gives each file to one process, and those of exports to one, which share what they export."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrFolder(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "tests/export" if file.startswith("tests/export/") else file

    return ByFileOrFolder(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def _fixed_seed():
    keras.utils.set_random_seed(0)
