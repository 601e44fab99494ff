"""Counting votes for one classifier on all replicas of a strategy."""

import numpy as np
import tensorflow as tf


def check_replicas(strategy, head):
    """Raises unless every replica of a strategy has the same head.

    In training, batch normalization may gather other statistics on every replica: votes of such
    heads would be those of no classifier.

    Args:
        strategy: `tf.distribute.Strategy` of several replicas.
        head: Keras layer or model.

    Raises:
        ValueError: if the replicas are on several machines, or a weight of theirs differs.
    """
    if type(strategy) is not tf.distribute.MirroredStrategy:
        raise ValueError(
            "Sampling on several devices needs a tf.distribute.MirroredStrategy, with replicas "
            f"on one machine. Received: {type(strategy).__name__}. Split the images between "
            "processes instead."
        )
    for variable in head.variables:
        copies = [copy.numpy() for copy in strategy.experimental_local_results(variable.value)]
        if any(not np.array_equal(copies[0], copy, equal_nan=True) for copy in copies[1:]):
            raise ValueError(
                f"The weight '{variable.path}' of the head differs between the replicas of the "
                "strategy, as statistics of batch normalization do after training. Save the model, "
                "and load it in the scope: then all replicas have the weights of the first."
            )


def sum_over_replicas(strategy, count):
    """Returns a function that adds up what a function counts on every replica of a strategy.

    Args:
        strategy: `tf.distribute.Strategy`.
        count: function of (*tensors, replica) that returns a tensor; replica is 0 if left out.

    Returns:
        Function of the tensors.
    """
    if strategy.num_replicas_in_sync == 1:
        # Not `count` itself: for a concrete function its replica is an argument that every call
        # lacks, which TensorFlow finds out by way of an error that prints all tensors.
        return lambda *tensors: count(*tensors)

    def on_one(*tensors):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return count(*tensors, replica)

    return lambda *tensors: tf.add_n(
        strategy.experimental_local_results(strategy.run(on_one, tensors))
    )
