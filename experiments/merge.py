"""Puts the certificates of shards together.

    python -m experiments.certify --run_dir=runs/cifar_ls --num_images=500 --shard=1/2
    python -m experiments.certify --run_dir=runs/cifar_ls --num_images=500 --shard=2/2
    python -m experiments.merge --run_dir=runs/cifar_ls --num_images=500

Without arguments it takes all files of shards in the folder of the run. The result is the file of a
single process, apart from the times. Nothing may be missing, duplicated, or of other images than
those of the data set.
"""

from absl import flags

from experiments import command_line, datasets, shared_flags
from experiments.certified_test_set import check_images, evenly_spread
from experiments.run_directory import RunDirectory
from lsrs_tf.records.merging import merge

flags.DEFINE_string("run_dir", None, "Folder of the training run (its --output_dir).")
flags.DEFINE_string("outfile", None, "File to write; by default certified.tsv in --run_dir.")
flags.adopt_module_key_flags(command_line)
shared_flags.define_data()


def main(argv):
    """Merges."""
    flag = flags.FLAGS
    run = RunDirectory(flag.run_dir)
    data = datasets.load(run.settings()["dataset"], flag.data_dir, flag.download)
    outfile = flag.outfile or run.certified
    paths = argv[1:] or sorted(run.path.glob("certified.*of*.tsv"))
    if not paths:
        raise ValueError(f"There are no files of shards in {run.path}. Give their names.")
    merge(
        paths,
        outfile,
        evenly_spread(data.num_test, flag.num_images),
        lambda records: check_images(records, data, "A shard"),
    )
    print(f"Wrote {outfile}, from {len(paths)} shards.")


if __name__ == "__main__":
    flags.mark_flag_as_required("run_dir")
    command_line.run(main)
