"""Puts the certificates of shards together, or their attacks or estimates.

    python -m experiments.certify --run_dir=runs/cifar_ls --num_images=500 --shard=1/2
    python -m experiments.certify --run_dir=runs/cifar_ls --num_images=500 --shard=2/2
    python -m experiments.merge --run_dir=runs/cifar_ls --num_images=500

Without arguments it takes all certification files of shards in the folder of the run. Files of
attacks or of estimates are named, all of one kind:

    python -m experiments.merge --run_dir=runs/ls --num_images=500 runs/ls/attacked.?of2.tsv

The result is the file of a single process, apart from the times. Nothing may be missing,
duplicated, or of other images than those of the data set.
"""

import pathlib
import shlex

from absl import flags

from experiments import checkpoints, command_line, datasets, shared_flags
from experiments.certified_test_set import check_images, evenly_spread
from experiments.run_directory import RunDirectory
from lsrs_tf.models.fingerprints import fingerprint
from lsrs_tf.records import attacks, estimates
from lsrs_tf.records.merging import merge, merge_layout

flags.DEFINE_string("run_dir", None, "Folder of the training run (its --output_dir).")
flags.DEFINE_string(
    "outfile",
    None,
    "File to write; by default certified.tsv in --run_dir, attacked.tsv or estimated.tsv.",
)
flags.adopt_module_key_flags(command_line)
shared_flags.define_data()


def kind_of(path):
    """Returns `records.attacks` or `records.estimates` if a file is one of theirs, None otherwise.

    Its first line decides; whether the file is sound is found out by whoever reads it.
    """
    try:
        with pathlib.Path(path).open(encoding="utf-8-sig", errors="replace") as file:
            header = {cell.strip(' "\n') for cell in file.readline().split("\t")}
    except OSError:
        return None
    for kind in (attacks, estimates):
        if {*kind.LAYOUT.parsers} <= header:
            return kind
    return None


def check_model(records, model, run):
    """Raises if records are of another model than that of a run.

    Args:
        records: list of `Record`, or those of attacks or estimates.
        model: str, the fingerprint of the model, or None if only its certificates are there.
        run: `RunDirectory`.

    Raises:
        ValueError: if one of the records names another model.
    """
    for record in records:
        found = record.value("model")
        if None not in (model, found) and found != model:
            raise ValueError(
                f"A shard is of another model than {run.model}: it tells the fingerprint {found}, "
                f"that of the model is {model}. Give the --run_dir of its model, or certify anew."
            )


def main(argv):
    """Merges."""
    flag = flags.FLAGS
    run = RunDirectory(flag.run_dir)
    data = datasets.load(run.settings()["dataset"], flag.data_dir, flag.download)
    paths = argv[1:] or sorted(run.path.glob("certified.*of*.tsv"))
    if not paths:
        raise ValueError(f"There are no files of shards in {run.path}. Give their names.")
    indices = evenly_spread(data.num_test, flag.num_images)

    model = fingerprint(checkpoints.load_model(run.model)) if run.model.is_file() else None

    def check(records):
        check_images(records, data, "A shard")
        check_model(records, model, run)

    kind = kind_of(paths[0])
    if kind is None:
        outfile = flag.outfile or run.certified
        merge(paths, outfile, indices, check)
    else:
        outfile = flag.outfile or run.path / kind.IN_A_FOLDER
        merge_layout(kind.LAYOUT, paths, outfile, indices, check)
    reported = shlex.quote(str(outfile if kind is None else run.path))
    print(
        f"Wrote {outfile}, from {len(paths)} shards. Next: python -m experiments.report {reported}"
    )


if __name__ == "__main__":
    command_line.run(main, required=["run_dir"])
