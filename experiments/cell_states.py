"""What the folder of a cell holds: whether it was made as it would be now, and what is missing."""

import dataclasses

import numpy as np

from experiments import train
from experiments.cell_plans import CellPlan
from experiments.run_directory import RunDirectory
from lsrs_tf.records import schema
from lsrs_tf.records.reading import read_table
from lsrs_tf.records.summary import Run


@dataclasses.dataclass(frozen=True)
class CellState:
    """What is on disk of a cell.

    Attributes:
        plan: `CellPlan`.
        differences: list of str, in which settings it differs from the plan.
        run: `Run` of its certificates, all of them or some, or None if there is none.
        problem: str, why its certificates cannot be read, '' if they can.
        missing: int, images that are not certified yet.
    """

    plan: CellPlan
    differences: list
    run: Run | None
    problem: str
    missing: int

    @property
    def finished(self):
        """Whether the cell can go into the table."""
        return not (self.differences or self.problem or self.missing)


def state_of(plan, fingerprint, indices):
    """Returns the `CellState` of a cell.

    Args:
        plan: `CellPlan`.
        fingerprint: str, that of the data set, see `ImageData.fingerprint`.
        indices: list of int, the test images that are to be certified.

    Raises:
        ValueError: if the recorded settings of the run are damaged.
    """
    directory = RunDirectory(plan.directory)
    records, problem = [], ""
    if directory.certified.exists():
        try:
            records = read_table(directory.certified).records
        except (ValueError, OSError) as error:
            # A last row that a kill has cut off is dropped when the certification goes on.
            problem = str(error)
    differences = _differences_of_training(plan, directory)
    if records:
        differences += _differences_of_certificates(plan, records, fingerprint, indices)
    return CellState(
        plan,
        differences,
        Run(plan.directory, records) if records else None,
        problem,
        len({*indices} - {record.idx for record in records}),
    )


def _differences_of_training(plan, directory):
    begun = (directory.model, directory.checkpoints, directory.certified)
    if not any(path.exists() for path in begun):
        # As for the training: until then a mistyped flag can be fixed.
        return []
    try:
        return directory.differences(plan.settings, train.DEFAULTS)
    except FileNotFoundError:
        return ["how it was trained is unknown: it has no settings.json"]


def _differences_of_certificates(plan, records, fingerprint, indices):
    """Returns what the first record, which all agree with, and the indices have different."""
    first = records[0]
    expected = {**plan.columns, "data_fingerprint": fingerprint}
    if "replaced" in first.extra:
        expected["replaced"] = plan.replaced
    # Columns of a head that was cast only.
    expected.setdefault("head_dtype", schema.UNKNOWN)
    found = {
        name: first.extra.get(name, schema.written(name, schema.default(name))) for name in expected
    }
    if plan.cell.sigma > 0:
        # As float32 has it, which the noise is.
        expected["sigma"] = str(float(np.float32(plan.cell.sigma)))
        found["sigma"] = first.extra.get("sigma", schema.UNKNOWN)
    differences = [
        f"{name}: {found[name]} before, {value} now"
        for name, value in expected.items()
        if found[name] != value
    ]
    others = {record.idx for record in records} - {*indices}
    if others:
        differences.append(
            f"num_images: {len(others)} certified images (such as {min(others)}) are not among "
            f"the {len(indices)} of now"
        )
    return differences
