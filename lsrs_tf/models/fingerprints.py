"""What tells one trained model from another."""

import hashlib
import json

import keras
import numpy as np


def fingerprint(model: keras.Model) -> str:
    """Returns 16 hexadecimal digits that change with any weight or with the architecture.

    Args:
        model: a built `keras.Model`.
    """
    digest = hashlib.sha256()
    config = keras.saving.serialize_keras_object(model)
    # The compiled optimizer is not part of what the model computes.
    config = {name: config[name] for name in ("module", "class_name", "config")}
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]
