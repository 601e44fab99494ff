import pytest

from experiments.flag_names import line_of_flags
from tests.commands import run_command

KNOWN = ["method", "n", "sigma", "certify_batch_size", "target_radii"]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("`sigma` belongs to it. Received: sigma=0.5", "--sigma"),
        ("`method='margin'` takes no samples. Leave out n=200.", "--method, --n"),
        ("at most `batch_size`", "--certify_batch_size (`batch_size`)"),
        ("for example target_radii=[0.25, 0.5]", "--target_radii"),
        # Already in the terms of a command, in part or in whole.
        ("--method=margin takes no `sigma`", "--sigma"),
        ("`sigma` is 0: give --sigma", None),
        # What is no argument, or one without a flag.
        ("no file at runs/sigma=0.5/n=3, in x.n=7 or -n=8", None),
        ("`model` must be built. Received: images=None", None),
        ("the sigma of a method, n = 5", None),
        ("", None),
    ],
)
def test_flags_of_the_arguments_are_told_after_a_message(message, told):
    assert line_of_flags(message, KNOWN) == (f"\nFlags of this command: {told}." if told else "")


def test_first_name_that_is_a_flag_counts():
    assert line_of_flags("`n`", ["n", "predict_n"]) == "\nFlags of this command: --n."
    assert line_of_flags("`n`", ["predict_n"]) == "\nFlags of this command: --predict_n (`n`)."


def test_error_of_the_library_ends_a_command_with_flags(tmp_path):
    arguments = ["--flagfile=digits_margin.flags", "--certify", "--n=500"]
    ended = run_command("experiments.train", *arguments, cwd=tmp_path)
    assert ended.returncode == 1
    assert "Leave out n=500.\nFlags of this command: --method, --n." in ended.stderr
