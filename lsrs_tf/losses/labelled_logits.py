"""What a batch of labels and logits must look like."""

import tensorflow as tf


def number_of_classes(y_pred: tf.Tensor, loss: str) -> int:
    """Returns the number of classes of logits [batch, classes].

    Args:
        y_pred: tensor [batch, classes].
        loss: str, name of the loss for the error.

    Raises:
        ValueError: if the rank is not 2, or there are fewer than two classes.
    """
    classes = y_pred.shape[-1] if y_pred.shape.rank == 2 else None
    if classes is None or classes < 2:
        raise ValueError(
            f"{loss} needs logits of shape [batch, classes], with a known number of at least 2 "
            f"classes. Received: y_pred of shape {y_pred.shape}. A classifier of two classes "
            "needs two logits."
        )
    return int(classes)


def checked_labels(y_true: tf.Tensor, logits: tf.Tensor, loss: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns labels, and which of them are classes.

    Labels that are not whole numbers from 0 to classes - 1 raise: at once where TensorFlow runs
    eagerly, and otherwise in the step that receives them. XLA compiles no assertions; there the
    second result says which losses have no meaning.

    Args:
        y_true: tensor [batch] or [batch, 1] of whole numbers, of any numeric type.
        logits: tensor [batch, classes].
        loss: str, name of the loss for the error.

    Returns:
        (labels int32 [batch], 0 where they are invalid; bool [batch], whether they are valid).

    Raises:
        ValueError: if the shape is that of something else, one-hot labels for instance.
        tf.errors.InvalidArgumentError: if a label is no class, in a graph.
    """
    given = tf.convert_to_tensor(y_true)
    classes = number_of_classes(logits, loss)
    rank = given.shape.rank
    if rank is not None and not (rank == 1 or (rank == 2 and given.shape[1] in (1, None))):
        advice = (
            " Turn one-hot labels into classes: `labels.argmax(-1)`."
            if given.shape[-1] == classes
            else ""
        )
        raise ValueError(
            f"{loss} needs one integer label for each row of logits: y_true of shape [batch] or "
            f"[batch, 1]. Received: y_true of shape {given.shape}, y_pred of shape "
            f"{logits.shape}.{advice}"
        )
    batches = (None if rank is None else given.shape[0], logits.shape[0])
    if None not in batches and batches[0] != batches[1]:
        raise ValueError(
            f"{loss} needs as many labels as rows of logits. Received: y_true of shape "
            f"{given.shape}, y_pred of shape {logits.shape}."
        )
    # Raises at run time where sizes differ that are unknown before.
    given = tf.reshape(given, tf.shape(logits)[:1])
    numbers = tf.cast(given, tf.float64)
    valid = (tf.floor(numbers) == numbers) & (numbers >= 0) & (numbers < classes)
    message = f"{loss} needs labels that are whole numbers from 0 to {classes - 1}."
    if tf.executing_eagerly():
        if not tf.reduce_all(valid):
            wrong = float(numbers[tf.logical_not(valid)][0])
            raise ValueError(f"{message} Received: {wrong:g} among y_true.")
    else:
        tf.debugging.Assert(tf.reduce_all(valid), [f"{message} Received y_true:", given])
    return tf.cast(tf.where(valid, numbers, tf.zeros_like(numbers)), tf.int32), valid


def gaps_to_label(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns how far each logit [batch, classes] is above that of the true class.

    Args:
        labels: int tensor [batch].
        logits: tensor [batch, classes].
    """
    return logits - tf.gather(logits, labels[:, None], batch_dims=1)


def crossentropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropies [batch] of logits [batch, classes] at int labels [batch]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
