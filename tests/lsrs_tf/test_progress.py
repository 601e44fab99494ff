import sys
import time

from lsrs_tf import progress


def test_a_log_gets_whole_lines_and_few_of_them(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_INTERVAL", 0.05)
    assert list(progress.progress(range(40), desc="count", unit="image")) == list(range(40))
    for _ in progress.progress(range(10), desc="slow", total=10):
        time.sleep(0.02)
    text = capsys.readouterr().err
    assert "\r" not in text and "\x1b" not in text
    lines = text.splitlines()
    assert any(line.startswith("count: 100%") for line in lines)
    assert 3 <= sum(line.startswith("slow") for line in lines) <= 8


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress.progress(range(3), desc="count")) == [0, 1, 2]
    assert "\r" in capsys.readouterr().err


def test_nothing_is_shown_unless_it_is_asked_for(capsys):
    assert list(progress.progress(range(3), desc="count", shown=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_what_is_quick_stays_silent(capsys):
    with progress.progress(desc="bound", delay=10, leave=False) as bar:
        bar.update()
    assert capsys.readouterr().err == ""
