"""What has to be run for each cell of a table: commands of `experiments.train`, from the flags."""

import dataclasses
import pathlib

from absl import flags

from experiments import (
    encoder_flags,
    fitting,
    loss_flags,
    model_flags,
    objective_flags,
    paper_tables,
    shared_flags,
    train,
)
from lsrs_tf.certification.settings import Settings
from lsrs_tf.records import schema

# What a cell is, and where it goes.
_OF_CELLS = ("model", "orthogonal_layers", "sigma", "output_dir", "certify")
# What a table has no use for.
_OF_OTHERS = ("report", "export", "margin", "served_radii", "predict_n", "max_n", "xla")
_OF_ALL_COMMANDS = ("debug",)
# Flags of the method, which networks without noise are certified without.
_OF_SAMPLES = {"certify_batch_size"} | {
    field.name for field in dataclasses.fields(Settings) if field.name not in ("seed", "batch_size")
}
# How much smaller than with all samples a radius may be, unless flags say how to certify.
TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class CellPlan:
    """One cell, and how it is made.

    Attributes:
        number: int, from 1.
        cell: `paper_tables.Cell`.
        replaced: str, the fraction of layers in the encoder, such as '9/18'.
        directory: `pathlib.Path`, the folder of the run.
        arguments: list of str, the flags of `experiments.train`.
        settings: dict of str to value, what decides the trained weights, as the folder records it.
        columns: dict of str to str, settings of certificates as the certification file has them.
    """

    number: int
    cell: paper_tables.Cell
    replaced: str
    directory: pathlib.Path
    arguments: list
    settings: dict
    columns: dict

    @property
    def name(self):
        """A name for messages."""
        return (
            f"cell {self.number}, {self.cell.defense} {self.replaced}, sigma {self.cell.sigma:.2f}"
        )


def forwarded_flags():
    """Returns the names of the flags that go to the training of every cell, in their order."""
    kept = {*_OF_CELLS, *_OF_OTHERS, *encoder_flags.NAMES, *_OF_ALL_COMMANDS}
    found = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(train.__name__)} - kept
    first = [name for name in train.SETTINGS if name in found]
    return [*first, *sorted(found - {*first})]


def set_defaults(table):
    """Makes the settings of the paper the defaults of the flags, and certificates sequential.

    Args:
        table: `paper_tables.PaperTable`.
    """
    flag = flags.FLAGS
    for name, value in table.flags.items():
        flag.set_default(name, value)
    flag.set_default("method", "sequential")
    if flag.method == "sequential" and flag.target_radii is None:
        flag.set_default("tolerance", TOLERANCE)


def plans(table, runs_dir):
    """Returns the `CellPlan` of each cell for the present flags, after `set_defaults`.

    Args:
        table: `paper_tables.PaperTable`.
        runs_dir: folder of the runs.

    Raises:
        ValueError: if a flag is not one of a table, or its value is impossible.
    """
    _check_flags()
    sizes = {name: flags.FLAGS[name].value for name in model_flags.SIZES}
    # What is wrong for all cells, before the first of them is begun.
    loss_flags.loss_of_flags(steps=1)
    objective_flags.objective_of_flags(steps_per_epoch=1)
    found = []
    for number, cell in enumerate(table.cells, 1):
        fitting.sizes_of(table.model, cell.orthogonal_layers, **sizes)
        found.append(_plan(number, cell, table, pathlib.Path(runs_dir)))
    return found


def _check_flags():
    flag = flags.FLAGS
    for name in _OF_CELLS:
        if flag[name].present:
            raise ValueError(
                f"--{name} is what the cells of a table choose: leave it out. A single network is "
                "trained by `python -m experiments.train`; --runs_dir is the folder of the runs."
            )
    for name in encoder_flags.NAMES:
        if flag[name].present:
            raise ValueError(
                f"--{name} is about one encoder, and the networks of a table have different ones: "
                "leave it out."
            )
    for name in _OF_OTHERS:
        if flag[name].present:
            raise ValueError(
                f"--{name} is not one of tables: leave it out. For the run of a cell there are "
                "`python -m experiments.report` and `experiments.export`."
            )
    if flag.method == "margin":
        raise ValueError(
            "The tables are about smoothed classifiers, whose certificates are those of "
            "--method=sequential or fixed. Received: --method=margin"
        )


def _plan(number, cell, table, runs_dir):
    flag = flags.FLAGS
    name = f"{cell.orthogonal_layers}of{table.layers}_sigma{cell.sigma:.2f}"
    directory = runs_dir / f"{flag.dataset}_{table.model}_{name}"
    noiseless = cell.sigma == 0
    left_out = {*_OF_SAMPLES, *objective_flags.NAMES} if noiseless else set()
    own = {
        "model": table.model,
        "orthogonal_layers": cell.orthogonal_layers,
        "sigma": cell.sigma,
    }
    arguments = [f"--{key}={value}" for key, value in own.items()]
    for key in forwarded_flags():
        told = flag[key].present or key in (*table.flags, "method", "tolerance")
        if told and key not in left_out and flag[key].value is not None:
            arguments += flag[key].serialize().split("\n")
    if noiseless:
        arguments.append("--method=margin")
    arguments += ["--certify", f"--output_dir={directory}"]
    settings = {key: flag[key].value for key in train.SETTINGS} | own
    if noiseless:
        settings |= {key: flag[key].default for key in objective_flags.NAMES}
        certificates = Settings(method="margin")
    else:
        certificates = Settings(**shared_flags.certification_settings())
    columns = {key: schema.written(key, value) for key, value in certificates.columns().items()}
    return CellPlan(number, cell, table.replaced(cell), directory, arguments, settings, columns)
