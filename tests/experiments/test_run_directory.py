import pytest

from experiments.run_directory import RunDirectory


def test_same_settings_claim_a_folder_again(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.claim({"sigma": 0.25, "epochs": 3})
    RunDirectory(tmp_path / "run").claim({"sigma": 0.25, "epochs": 3})
    assert run.settings() == {"sigma": 0.25, "epochs": 3}


def test_other_settings_are_refused(tmp_path):
    RunDirectory(tmp_path).claim({"sigma": 0.25, "epochs": 2})
    # Nothing has been trained yet: a mistyped flag can be fixed.
    RunDirectory(tmp_path).claim({"sigma": 0.25, "epochs": 3})
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileExistsError, match=r"sigma: 0\.25 before, 0\.5 now"):
        RunDirectory(tmp_path).claim({"sigma": 0.5, "epochs": 3})


def test_setting_that_an_earlier_version_lacked_is_its_default(tmp_path):
    RunDirectory(tmp_path).claim({"sigma": 0.25})
    (tmp_path / "checkpoints").mkdir()
    defaults = {"schedule": "step"}
    RunDirectory(tmp_path).claim({"sigma": 0.25, "schedule": "step"}, defaults)
    with pytest.raises(FileExistsError, match="schedule: 'step' before, 'cosine' now"):
        RunDirectory(tmp_path).claim({"sigma": 0.25, "schedule": "cosine"}, defaults)


def test_model_of_unknown_origin_is_refused(tmp_path):
    (tmp_path / "model.keras").touch()
    with pytest.raises(FileExistsError, match=r"no settings\.json"):
        RunDirectory(tmp_path).claim({})


@pytest.mark.parametrize("name", ["certified.tsv", "certified.2of3.tsv"])
def test_certificates_do_not_become_those_of_another_model(tmp_path, name):
    run = RunDirectory(tmp_path)
    run.claim({"sigma": 0.25})
    (tmp_path / name).touch()
    for settings in ({"sigma": 0.25}, {"sigma": 0.5}):
        with pytest.raises(FileExistsError, match=rf"certificates \({name}\) of a model that"):
            run.claim(settings)
    assert run.settings() == {"sigma": 0.25}
    run.model.touch()
    run.claim({"sigma": 0.25})


def test_missing_and_damaged_settings_are_named(tmp_path):
    run = RunDirectory(tmp_path)
    with pytest.raises(FileNotFoundError, match="no training run"):
        run.settings()
    for content in (b"{", b"\xff", b"[1, 2]", b"3"):
        (tmp_path / "settings.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"settings\.json is damaged"):
            run.settings()


def test_differences_are_told_for_any_run(tmp_path):
    run = RunDirectory(tmp_path)
    with pytest.raises(FileNotFoundError, match="no training run"):
        run.differences({})
    run.claim({"sigma": 0.25, "epochs": 2})
    assert run.differences({"sigma": 0.25, "epochs": 2}) == []
    assert run.differences({"sigma": 0.25, "epochs": 3, "loss": "emma"}, {"loss": "hinge"}) == [
        "epochs: 2 before, 3 now",
        "loss: 'hinge' before, 'emma' now",
    ]
