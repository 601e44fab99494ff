"""Whether the replicas of a strategy can count votes for one classifier."""

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
