"""A pytest plugin that prints which test keeps which promise of docs/requirements.md: `make matrix`."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "requirements.md"
REQUIREMENTS = tuple(re.findall(r'^- <a id="(S\d+)"></a>', PAGE.read_text(), re.MULTILINE))
KEY = "requirement"

# What Cofactor does not build: requirement -> the reason. Never drop one silently.
_NO_PAYMENTS = "logins are approved, not payments: nothing authorizes a transaction through Cofactor yet"
NOT_APPLICABLE: dict[str, str] = {
    "S31": "recovery codes are shown, and never sent",
    "S37": "an active authenticator does not expire",
    "S119": "changes are notified out of band (S35), and no delay can be set: one would keep a lost phone's replacement"
    " from its owner as long as a thief's from the thief, and a change takes a second factor already (S118)",
    "S122": _NO_PAYMENTS,
    "S124": _NO_PAYMENTS,
    "S171": "FIDO hands its conformance tool to those who register with it, and no package registry has it, so that no"
    " run can be recorded; what its server suite checks is tested case by case instead (S160 to S170)",
    "S174": "ten tries and one more every six minutes, a warning at the fifth: the profile of PSD2 is not claimed",
    "S175": "sessions are the applications'; what Cofactor issues has a lifetime of its own",
    "S176": _NO_PAYMENTS,
    "S177": _NO_PAYMENTS,
    "S178": _NO_PAYMENTS,
    "S180": "what a phone that is both factors is worth depends on the phone, and is not claimed",
}

_results: dict[str, dict[str, str]] = defaultdict(dict)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note each test's requirements where its reports carry them, from xdist's workers too."""
    for item in items:
        for marker in item.iter_markers(KEY):
            for requirement in marker.args:
                if requirement not in REQUIREMENTS:
                    raise pytest.UsageError(f"{item.nodeid}: no requirement {requirement!r}")
                item.user_properties.append((KEY, requirement))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep one result per test, whatever its parameters and phases: failed, else passed, else skipped."""
    if report.when != "call" and report.outcome == "passed":
        return
    test = re.sub(r"\[.*\]$", "", report.nodeid, flags=re.DOTALL)
    for key, requirement in report.user_properties:
        if key == KEY:
            tests = _results[str(requirement)]
            tests[test] = min(report.outcome, tests.get(test, report.outcome))  # failed < passed < skipped


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, then what is missing."""
    write = terminalreporter.write_line
    terminalreporter.section("requirements")
    for requirement in REQUIREMENTS:
        for test, result in sorted(_results.get(requirement, {}).items()):
            write(f"{requirement:5} {result:8} {test}")
    for requirement, reason in NOT_APPLICABLE.items():
        write(f"{requirement:5} not applicable: {reason}")
    missing = [r for r in REQUIREMENTS if r not in _results and r not in NOT_APPLICABLE]
    write(f"{len(_results)} covered, {len(NOT_APPLICABLE)} not applicable, {len(missing)} not covered")
    write("not covered: " + " ".join(missing))
