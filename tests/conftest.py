import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

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


def pytest_collection_modifyitems(items):
    """Gives each file to one process, and those of exports to one, which share what they export."""
    for item in items:
        file = item.path.relative_to(item.config.rootpath)
        group = "tests/export" if file.is_relative_to("tests/export") else str(file)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True)
def _fixed_seed():
    keras.utils.set_random_seed(0)
