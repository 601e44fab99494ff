"""On which machines and devices a training runs."""

import contextlib
import dataclasses
import faulthandler
import os
import signal
import sys
from typing import Any

import keras
import tensorflow as tf
from absl import flags

from experiments import clusters, rendezvous
from experiments.shares import Share
from lsrs_tf import version

flags.DEFINE_enum(
    "strategy",
    None,
    ["one_device", "mirrored", "multi_worker"],
    "one_device: one process and device; mirrored: all GPUs of this machine; multi_worker: the "
    "workers that the environment variable TF_CONFIG names, each with this command. By default "
    "multi_worker where TF_CONFIG names several workers, and one_device elsewhere.",
)
flags.DEFINE_float(
    "worker_timeout",
    600.0,
    "Seconds that a worker waits for the others: at the start, and in a step, in which the chief "
    "may be writing a checkpoint.",
    lower_bound=1.0,
)

# What TensorFlow raises where another worker has gone.
_LOSSES = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
)


@dataclasses.dataclass(frozen=True)
class Workers:
    """All that train a model together, and which of them this process is.

    Attributes:
        strategy: `tf.distribute.Strategy`, or None for one process and device.
        share: the `Share` of each batch that this process trains on.
    """

    strategy: Any = None
    share: Share = dataclasses.field(default_factory=Share)

    @property
    def is_chief(self):
        """Whether this process writes the files of the run, bool."""
        return self.share.worker == 0

    def scope(self):
        """Returns the context in which variables are made, by all workers at once.

        The model is fitted outside: its callbacks of the chief may make variables as well.
        """
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def batches(self, train):
        """Returns what `fit` iterates over.

        Args:
            train: `tf.data.Dataset` of the share of this process; without end, if there are several
                replicas. Otherwise they would ask each other before each step whether there is one.
        """
        if self.strategy is None:
            return train
        return self.strategy.distribute_datasets_from_function(lambda context: train)

    def prepare(self, model):
        """Lets `fit` of a compiled model train on all replicas, if there are several.

        It replaces the one function that takes a step: Keras' own averages the results of the
        replicas in a way that fails for several workers.
        """
        if self.strategy is None:
            return
        model.train_function = step_function(model, self.strategy)
        # It would read a batch, and have each epoch begin with the images of the next one. The
        # variables that it creates are there.
        model._maybe_symbolic_build = lambda *args, **kwargs: None

    def wait(self):
        """Returns when all workers have come here."""
        if self.share.workers > 1:
            with explained_losses(self.strategy):
                self.strategy.reduce("SUM", tf.constant(1.0), axis=None)


ALONE = Workers()


def step_function(model, strategy):
    """Returns a function that takes a step of `fit` on all replicas of a strategy.

    Args:
        model: compiled Keras model, made in the scope of the strategy.
        strategy: `tf.distribute.Strategy`.

    Returns:
        Function of an iterator of distributed batches. It returns the metrics of the epoch, which
        are the same on all workers: Keras sums them up over replicas.
    """

    @tf.autograph.experimental.do_not_convert
    def step(iterator):
        logs = strategy.run(model.train_step, args=(next(iterator),))
        return {name: strategy.experimental_local_results(log)[0] for name, log in logs.items()}

    return step if model.run_eagerly else tf.function(step)


def cluster_of_flags():
    """Returns the `clusters.Cluster` that --strategy and TF_CONFIG ask for, or None.

    Raises:
        ValueError: if TF_CONFIG is invalid, or lacks what --strategy=multi_worker needs.
    """
    strategy = flags.FLAGS.strategy
    if strategy in ("one_device", "mirrored"):
        return None
    cluster = clusters.cluster_of_environment()
    several = cluster is not None and len(cluster.addresses) > 1
    if strategy == "multi_worker" and not several:
        raise ValueError(
            "--strategy=multi_worker needs the environment variable TF_CONFIG to name several "
            "workers, and it "
            + ("names one." if cluster else "is not set.")
            + " Set it on every worker, or train with --strategy=one_device."
        )
    return cluster if several else None


def start(cluster, facts):
    """Returns the `Workers` of the flags, once all of them are there and agree.

    TensorFlow must not have been used before.

    Args:
        cluster: what `cluster_of_flags` returned.
        facts: dict of JSON values, what has to be the same for all workers.

    Raises:
        ValueError: on every worker, if some do not come, or disagree.
    """
    if cluster is None:
        if flags.FLAGS.strategy != "mirrored":
            return ALONE
        strategy = tf.distribute.MirroredStrategy()
        return Workers(strategy, Share(devices=strategy.num_replicas_in_sync))
    timeout = flags.FLAGS.worker_timeout
    versions = {"lsrs_tf": version.__version__, "keras": keras.__version__, "tf": tf.__version__}
    facts = {**facts, **versions}
    print(
        f"Worker {cluster.index} of {len(cluster.addresses)} waits up to {timeout:g} seconds for "
        f"the others; they meet at {cluster.addresses[0]}.",
        flush=True,
    )
    rendezvous.meet(
        cluster, {**facts, "gpus": len(tf.config.list_physical_devices("GPU"))}, timeout
    )
    # If one is killed just now TensorFlow waits without end, and does not let Python run meanwhile.
    faulthandler.dump_traceback_later(timeout, exit=True, file=sys.__stderr__)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(
            communication_options=tf.distribute.experimental.CommunicationOptions(
                timeout_seconds=timeout
            )
        )
    finally:
        faulthandler.cancel_dump_traceback_later()
    # TensorFlow waits for a notice of preemption, and makes a worker deaf to `kill`.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    workers = len(cluster.addresses)
    if cluster.index > 0:
        # It would be silent until the end.
        print(
            f"Worker {cluster.index} of {workers} trains with the chief at {cluster.addresses[0]}; "
            "progress is printed there.",
            flush=True,
        )
    devices = strategy.num_replicas_in_sync // workers
    return Workers(strategy, Share(cluster.index, workers, devices))


@contextlib.contextmanager
def explained_losses(strategy):
    """Raises ValueError in place of TensorFlow's errors when another worker has failed.

    Args:
        strategy: `tf.distribute.Strategy`, or None, for which errors are let pass.
    """
    try:
        yield
    except tf.errors.OpError as error:
        several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        if not several or not (isinstance(error, _LOSSES) or "Collective ops" in error.message):
            raise
        raise ValueError(
            "Another worker failed, was stopped, or kept this one waiting for longer than "
            "--worker_timeout; its own messages say why. Give the same command again on all "
            f"workers: they go on after the last finished epoch. ({_reason_of(error)})"
        ) from error


def _reason_of(error):
    lines = error.message.strip().splitlines() or [type(error).__name__]
    return next((line for line in lines if "Collective ops" in line), lines[-1])[:500]


def go_on_alone(module):
    """Runs this command again in place of this process, which has no other workers then.

    A process that was a worker names the devices of a cluster in all that it makes. Exports of it
    could not be served elsewhere.

    Args:
        module: str, the command.
    """
    del os.environ["TF_CONFIG"]
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = [*sys.argv[1:], "--strategy=one_device"]
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
