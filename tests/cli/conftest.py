"""Command lines as a person gives them."""

import pytest

from kdbench.cli import main


@pytest.fixture
def kdbench(capsys, tmp_path, monkeypatch):
    """Runs a command line; gives exit code, standard output and standard error."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run
