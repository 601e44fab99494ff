"""A process that loads a SavedModel as TensorFlow Serving does, and answers requests from a file.

    python session_program.py VERSION ASKED.npz ANSWERED.npz

Arrays are named SIGNATURE/NAME. Neither this package nor Keras can be imported in it.
"""

import sys
from collections.abc import Mapping
from typing import Any

HIDDEN = ("export", "experiments", "keras", "lsrs_tf", "tensorflow_probability", "tf_keras")


def hide() -> None:
    """Makes packages impossible to import, also for TensorFlow, which is not yet imported."""
    # None is what makes an import fail.
    hidden: dict[str, Any] = dict.fromkeys(HIDDEN)
    sys.modules.update(hidden)


def answers(version: str, requests: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Runs signatures in a session.

    Args:
        version: folder of the SavedModel.
        requests: dict of signature to dict of input to array.

    Returns:
        dict of 'SIGNATURE/NAME' to array.
    """
    import tensorflow as tf

    found = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        model = tf.compat.v1.saved_model.load(session, ["serve"], version)
        for name, inputs in requests.items():
            signature = model.signature_def[name]
            answer = session.run(
                {key: info.name for key, info in signature.outputs.items()},
                {signature.inputs[key].name: value for key, value in inputs.items()},
            )
            found.update({f"{name}/{key}": value for key, value in answer.items()})
    return found


def main(version: str, asked: str, answered: str) -> None:
    """Answers the requests of a file."""
    import numpy as np

    requests: dict[str, dict[str, Any]] = {}
    # Files are arrays of Python's bytes; the archive is one that this package has just written.
    with np.load(asked, allow_pickle=True) as arrays:
        for key in arrays.files:
            signature, name = key.split("/")
            requests.setdefault(signature, {})[name] = arrays[key]
    np.savez(answered, **answers(version, requests))


if __name__ == "__main__":
    hide()
    main(*sys.argv[1:])
