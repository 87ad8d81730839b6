"""`make test-clients` fails where a client does, or leaves a row out."""

import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from cofactor.testing import servers

from tests.clients import __main__ as runner

ROW = '@echo \'{{"row": "{0}"}}\' >> $(COFACTOR_ROWS)'
ALL = "\n\t".join(ROW.format(row) for row in runner.ROWS)


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for clients, instead of ours."""
    monkeypatch.setattr(runner, "CLIENTS", tmp_path)
    monkeypatch.setattr(runner, "LOGS", tmp_path / "logs")
    return tmp_path


def client(folder: Path, name: str, *, build: str = "@true", test: str) -> None:
    """Write a client of two commands."""
    (folder / name).mkdir()
    (folder / name / "Makefile").write_text(f"build:\n\t{build}\ntest:\n\t{test}\n")


@pytest.mark.timeout(120)
def test_a_run_is_good_if_every_client_is_and_shows_what_went_wrong_if_not(
    clients: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    client(clients, "ada", test=f"@test -r $(COFACTOR_DEMO) && test -x $(COFACTOR_COMMAND)\n\t{ALL}")
    client(clients, "basic", test=ROW.format("verify"))
    client(clients, "cobol", test=f"@echo it broke; false\n\t{ALL}")
    client(clients, "delphi", build="@echo no compiler; false", test=ALL)
    monkeypatch.setenv("COFACTOR_COMMAND", str(Path(sys.executable).with_name("cofactor")))
    ends = []

    with servers.started() as server:
        monkeypatch.setattr(servers, "started", lambda: nullcontext(server))  # one for both runs
        for wanted in (["ada"], []):
            monkeypatch.setattr(sys, "argv", ["clients", *wanted])
            ends.append(runner.main())

    said = capfd.readouterr().out
    assert ends == [0, 1]
    assert "it broke" in said
    assert "no compiler" in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines()[-11:-1]}
    assert rows.pop("verify") == ["ok", "ok", "MISSING", "MISSING"]
    assert set(map(tuple, rows.values())) == {("ok", "MISSING", "MISSING", "MISSING")}
