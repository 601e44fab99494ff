"""Makes a table of the LS-RS paper: trains and certifies its networks, next to the paper's figures.

    python -m experiments.tables --table=1 --width=16 --epochs=6 --num_images=500

Each cell (a row of the table) is a training run of its own below --runs_dir, made by
`experiments.train` with the flags that are given here; what is not given is that of the paper, but
certificates are sequential. Cells that are there are not made again: a table that was interrupted
goes on, and cells of other machines (--cell) only have to be copied together.

    python -m experiments.tables --table=2 --width=16 --epochs=6 --list
"""

import pathlib
import shlex

from absl import flags

from experiments import cell_plans, command_line, datasets, paper_tables, train
from experiments.cell_runs import run_cells
from experiments.cell_states import state_of
from experiments.cell_table import table_text, write_table
from experiments.certified_test_set import evenly_spread

flags.DEFINE_enum(
    "table", None, [str(number) for number in paper_tables.TABLES], "Table of the paper."
)
flags.DEFINE_integer("cell", None, "Make this cell only, by its number; see --list.")
flags.DEFINE_boolean("list", False, "Only print the commands that make the cells.")
flags.DEFINE_string(
    "runs_dir",
    "runs/tables",
    "Folder of the runs; tables that have a network in common share its run.",
)
flags.adopt_module_key_flags(command_line)
for _name in cell_plans.forwarded_flags():
    flags.declare_key_flag(_name)


def main(argv):
    """Makes the cells that are missing, and prints the table."""
    command_line.refuse_arguments(argv)
    flag = flags.FLAGS
    number = int(flag.table)
    table = paper_tables.TABLES[number]
    cell_plans.set_defaults(table)
    plans = cell_plans.plans(table, flag.runs_dir)
    wanted = _wanted(plans, number)
    if flag.list:
        print(_listed(wanted))
        return
    data = datasets.load(
        flag.dataset,
        flag.data_dir,
        flag.download,
        crop_padding=flag.crop_padding,
        rand_augment=flag.rand_augment,
    )
    indices, fingerprint = evenly_spread(data.num_test, flag.num_images), data.fingerprint()
    states = [state_of(plan, fingerprint, indices) for plan in plans]
    failed = {}
    if not any(state.differences for state in states):
        unfinished = {state.plan.number for state in states if not state.finished}
        failed = run_cells([plan for plan in wanted if plan.number in unfinished])
        states = [state_of(plan, fingerprint, indices) for plan in plans]
    if any(state.differences for state in states):
        # The files stay what they were: they may be of the settings that the cells have.
        print(f"\n{table_text(table, number, states)}")
    else:
        text, files = write_table(table, number, states, pathlib.Path(flag.runs_dir))
        print(f"\n{text}\nWrote {files}.")
    _finish(states, failed)


def _wanted(plans, number):
    """Returns the plans of the cells to make."""
    cell = flags.FLAGS.cell
    if cell is None:
        return plans
    if not 1 <= cell <= len(plans):
        raise ValueError(
            f"Table {number} has the cells 1 to {len(plans)}; --list prints them. Received: "
            f"--cell={cell}"
        )
    return [plans[cell - 1]]


def _listed(plans):
    """Returns a shell script of the commands of cells."""
    return "\n".join(
        f"# {plan.name}\npython -m {train.__name__} {shlex.join(plan.arguments)}" for plan in plans
    )


def _finish(states, failed):
    """Says what is not in the table, and raises if that is a mistake."""
    differing = [state for state in states if state.differences]
    if differing:
        lines = [f"  {one.plan.name}: {'; '.join(one.differences)}" for one in differing]
        raise ValueError(
            "Cells were made with other settings than those of this command, and are not in the "
            "table; nothing was trained:\n" + "\n".join(lines) + "\nGive the flags that they were "
            "made with, another --runs_dir, or remove their folders (before: in the folder, now: "
            "in this command)."
        )
    if failed:
        raise ValueError(
            f"{len(failed)} cells failed: {', '.join(map(str, failed))}. What went wrong is above, "
            "where each of them was begun. The others are kept: give the same command again."
        )
    broken = [state for state in states if state.problem]
    if broken:
        raise ValueError("\n".join(f"{one.plan.name}: {one.problem}" for one in broken))
    missing = [str(state.plan.number) for state in states if not state.finished]
    if missing:
        print(
            f"Not in the table yet: cells {', '.join(missing)}. Leave out --cell to make them, or "
            "copy their folders here."
        )
        return
    folders = " ".join(shlex.quote(str(state.plan.directory)) for state in states)
    print(f"Next: python -m experiments.report {folders}")


if __name__ == "__main__":
    command_line.run(main, required=["table"])
