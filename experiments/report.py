"""Turns certification files into the paper's table, certified accuracy at radii, and a plot.

    python -m experiments.report runs/cifar_ls runs/cifar_is --output_dir=runs/comparison

Each argument is a certification file (of this package, or any file in the format of Cohen et al.),
or the folder of a training run. Where a folder also holds attacks on the classifier that is
certified (`experiments.attack`), both stand next to each other; attacks inside certificates beyond
what alpha allows end the command with the exit status 3.
"""

import pathlib
import sys

from absl import flags

from experiments import command_line, cost_report
from experiments.report_writer import alarms_of, write_report

flags.DEFINE_string(
    "output_dir",
    "report",
    "Folder for report.md, its pictures and CSV files; those of an earlier report are overwritten.",
)
flags.DEFINE_float(
    "cost_radius",
    cost_report.RADIUS,
    "L2 radius at which certified accuracy is held against the cost of a certificate.",
)
flags.adopt_module_key_flags(command_line)


def main(argv):
    """Reports."""
    paths = argv[1:]
    if not paths:
        raise ValueError(
            "Nothing to report. Give certification files or folders of training runs, for example "
            "`python -m experiments.report runs/cifar_ls runs/cifar_is`."
        )
    # In full: the folder is that of the working directory, not that of a run.
    directory = pathlib.Path(flags.FLAGS.output_dir).resolve()
    print(write_report(paths, directory, flags.FLAGS.cost_radius))
    print(f"Wrote {directory}/report.md, with pictures and CSV files.")
    alarms = alarms_of(paths)
    if alarms:
        print("\n".join(alarms), file=sys.stderr)
        sys.exit(command_line.CONTRADICTED)


if __name__ == "__main__":
    command_line.run(main)
