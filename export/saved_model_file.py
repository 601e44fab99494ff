"""What is written in a `saved_model.pb`."""

import pathlib
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2


def read_signatures(version: pathlib.Path) -> dict[str, Any]:
    """Returns dict of name to `SignatureDef`, without those that TensorFlow adds for itself.

    Args:
        version: folder of the SavedModel.
    """
    signatures = _graph(version).signature_def
    return {name: found for name, found in signatures.items() if not name.startswith("__")}


def read_functions(version: pathlib.Path) -> list[Any]:
    """Returns the `FunctionDef`s of a SavedModel."""
    return list(_graph(version).graph_def.library.function)


def _graph(version: pathlib.Path) -> Any:
    path = version / "saved_model.pb"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no version of a SavedModel in {version}. Give the folder of one, such as "
            "served/digits/1."
        )
    content = path.read_bytes()
    (graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    return graph
