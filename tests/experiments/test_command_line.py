import pytest

from experiments.command_line import with_packaged_flag_files
from tests.commands import run_command


def test_bare_name_is_looked_up_among_the_packaged_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in (["--flagfile=cifar_ls.flags"], ["--flagfile", "cifar_ls.flags"]):
        resolved = " ".join(with_packaged_flag_files(["program", *given, "--n=5"]))
        assert resolved.endswith("experiments/flags/cifar_ls.flags --n=5")


def test_file_in_the_working_directory_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar_ls.flags").write_text("--n=7\n")
    argv = ["program", "--flagfile=cifar_ls.flags"]
    assert with_packaged_flag_files(argv) == argv


def test_missing_file_is_named_with_those_that_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("nowhere.flags", "sub/cifar_ls.flags"):
        with pytest.raises(FileNotFoundError, match=rf"{name}.*cifar_ls\.flags.*digits_ls\.flags"):
            with_packaged_flag_files(["program", f"--flagfile={name}"])


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("experiments.train", ["--flagfile=nowhere.flags"], "no flag file 'nowhere.flags'"),
        ("experiments.train", ["--flagfile=digits_ls.flags", "--sigma=0"], "sigma"),
        ("experiments.train", ["--flagfile=digits_ls.flags", "more"], "Unexpected arguments: more"),
        ("experiments.certify", ["--run_dir=nowhere"], "no training run in nowhere"),
        ("experiments.report", ["nowhere"], "no certification file at nowhere"),
        ("experiments.export", ["--run_dir=nowhere"], "There is no model at nowhere"),
    ],
)
def test_errors_are_one_line_without_a_traceback(tmp_path, module, arguments, message):
    ended = run_command(module, *arguments, cwd=tmp_path)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("module", "arguments", "lines"),
    [
        (
            "certify",
            ["runs/a"],
            [
                "error: --run_dir must be given, for example:",
                "python -m experiments.certify --run_dir=runs/cifar_ls --num_images=500",
                "Received without a flag: runs/a. All flags: python -m experiments.certify "
                "--helpshort",
            ],
        ),
        (
            "train",
            ["--dataset=digits", "--sigma=0.25"],
            [
                "error: --model, --epochs, --output_dir must be given, for example:",
                "python -m experiments.train --flagfile=digits_ls.flags",
                "All flags: python -m experiments.train --helpshort",
            ],
        ),
        # Of the examples, the one of the command itself.
        (
            "merge",
            [],
            [
                "error: --run_dir must be given, for example:",
                "python -m experiments.merge --run_dir=runs/cifar_ls --num_images=500",
                "All flags: python -m experiments.merge --helpshort",
            ],
        ),
    ],
)
def test_flags_that_are_missing_are_named_with_an_example(tmp_path, module, arguments, lines):
    ended = run_command(f"experiments.{module}", *arguments, cwd=tmp_path)
    assert ended.returncode == 1
    assert [line.strip() for line in ended.stderr.splitlines() if line.strip()][-3:] == lines
