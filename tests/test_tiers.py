"""What happens to a tier of tests whose tools are missing: installed, named, or an error; never silent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from analyses import ROOT

TOOLS = ROOT / "tools"
LISTS_LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"
ARCHIVES_LOCKED = "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 7 (apt-get)"
DPKG_LOCKED = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table of one package, and in bin/ stand-ins for programs; the user is root."""
    (tmp_path / "table").write_text(f"{tmp_path}/installed|some-package|some-tier\n")
    put(tmp_path, "id", "#!/bin/sh\necho 0\n")
    put(tmp_path, "sleep", "#!/bin/sh\necho $1 >> $MACHINE/slept\n")
    monkeypatch.delenv("TIERS_MAY_BE_MISSING", raising=False)
    monkeypatch.setenv("MACHINE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def put(machine: Path, name: str, script: str) -> Path:
    path = machine / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


def run(machine: Path, *command: str | Path, **variables: str) -> tuple[int, str]:
    """Exit code and all that was printed."""
    environment = os.environ | variables
    done = subprocess.run(command, cwd=machine, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def debian_tools(machine: Path, **variables: str) -> tuple[int, str]:
    return run(machine, TOOLS / "debian_tools.sh", machine / "table", **variables)


def put_apt_get(machine: Path, verb: str = "update", failures: int = 0, words: str = "") -> None:
    """Stand-in that fails at the verb with the words so many times; an install makes the package's file."""
    put(
        machine,
        "apt-get",
        f"""#!/bin/bash
cd "$MACHINE"
echo "$*" >> calls
if [[ "$*" == *{verb}* && "$(grep -c {verb} calls)" -le {failures} ]]; then
    echo "{words}" >&2
    exit 100
fi
if [[ "$*" == *install* ]]; then touch installed; fi
""",
    )


def calls(machine: Path) -> list[str]:
    return (machine / "calls").read_text().splitlines()


# --- Debian's packages --------------------------------------------------------------------------------


def test_a_missing_package_is_installed(machine: Path) -> None:
    put_apt_get(machine)
    code, printed = debian_tools(machine, TIERS_MAY_BE_MISSING="")
    assert (code, printed) == (0, "Installing Debian packages: some-package\n")


@pytest.mark.parametrize(
    ("verb", "failures", "words"), [("update", 1, LISTS_LOCKED), ("install", 5, ARCHIVES_LOCKED)]
)
def test_apt_that_is_busy_is_waited_for(machine: Path, verb: str, failures: int, words: str) -> None:
    put_apt_get(machine, verb, failures, words)
    code, printed = debian_tools(machine, TIERS_MAY_BE_MISSING="")
    assert (code, printed.count("Waiting")) == (0, 1)
    assert "TIER" not in printed
    assert len((machine / "slept").read_text().splitlines()) == failures


def test_the_wait_for_apt_has_an_end(machine: Path) -> None:
    put_apt_get(machine, failures=1000, words=LISTS_LOCKED)
    code, printed = debian_tools(machine, TIERS_MAY_BE_MISSING="")
    assert code == 1
    assert LISTS_LOCKED in printed
    assert sum(map(int, (machine / "slept").read_text().split())) <= 300


@pytest.mark.parametrize("words", ["E: Unable to locate package some-package", DPKG_LOCKED])
def test_what_waiting_does_not_change_is_said_at_once(machine: Path, words: str) -> None:
    """apt-get itself has waited for dpkg's lock before it says that it could not get it."""
    put_apt_get(machine, "install", 1000, words)
    code, printed = debian_tools(machine, TIERS_MAY_BE_MISSING="")
    assert code == 1
    assert words in printed
    assert ["DPkg::Lock::Timeout=300" in call for call in calls(machine)] == [True, True]


@pytest.mark.parametrize(
    ("variables", "code", "word"),
    [
        ({}, 0, "SKIPPED"),
        ({"TIERS_MAY_BE_MISSING": "other some-tier"}, 0, "SKIPPED"),
        ({"TIERS_MAY_BE_MISSING": ""}, 1, "MISSING"),
        ({"TIERS_MAY_BE_MISSING": "other some-tie"}, 1, "MISSING"),
    ],
)
def test_without_root_a_package_is_named_and_its_tier_may_be_missing_or_not(
    machine: Path, variables: dict[str, str], code: int, word: str
) -> None:
    put(machine, "id", "#!/bin/sh\necho 1000\n")
    found, printed = debian_tools(machine, **variables)
    assert found == code
    assert printed.startswith(f"{word} TIER: some-tier (Debian package some-package is not installed")
    assert printed.count("\n") == 1


def test_the_package_of_python_s_environments_is_waited_for(machine: Path) -> None:
    python = put(
        machine,
        "python",
        """#!/bin/bash
case "$*" in
    *print*) echo python3.11-venv;;
    *ensurepip*) test -e installed;;
    *) mkdir environment;;
esac
""",
    )
    put_apt_get(machine, failures=2, words=LISTS_LOCKED)
    code, printed = run(machine, TOOLS / "new_venv.sh", python, machine / "environment")
    assert (code, (machine / "environment").is_dir()) == (0, True), printed
    assert calls(machine)[-1].endswith("python3.11-venv")


# --- pytest -------------------------------------------------------------------------------------------

TESTS = """
import outside

def test_program():
    outside.program("no-such-program", "chromium")

def test_file():
    outside.file(outside.Path("/no/such/file"), "libpixelmed-java")

def test_library():
    outside.library("no_such_library", "docs")

def test_environment():
    outside.environment("deploy", "no-such-folder")

def test_interpreter():
    outside.interpreter("NO_SUCH_VARIABLE", "anything")

def test_shared():
    outside.shared("no/such/data")
"""


@pytest.mark.parametrize(
    ("variables", "failed"),
    [
        ({}, []),
        ({"TIERS_MAY_BE_MISSING": "browser deploy docs validators"}, []),
        ({"TIERS_MAY_BE_MISSING": ""}, ["browser", "validators", "docs", "deploy"]),
        ({"TIERS_MAY_BE_MISSING": "browser docs"}, ["validators", "deploy"]),
    ],
)
def test_tests_of_a_tier_that_may_not_be_missing_fail(
    machine: Path, variables: dict[str, str], failed: list[str]
) -> None:
    (machine / "test_some.py").write_text(TESTS)
    variables = variables | {"COLUMNS": "300", "PYTHONPATH": str(ROOT / "tests")}
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rfs", "test_some.py"]
    code, printed = run(machine, *pytest_, **variables)
    assert code == (1 if failed else 0), printed
    summary = [line for line in printed.splitlines() if line.startswith(("FAILED", "SKIPPED"))]
    assert len(summary) == 6
    for tier in failed:
        assert sum(f"TIERS_MAY_BE_MISSING does not name {tier}" in line for line in summary) == 1
    assert sum(line.startswith("FAILED") for line in summary) == len(failed)
    assert any("needs ../shared/no/such/data" in line for line in summary if line.startswith("SKIPPED"))


@pytest.mark.parametrize(
    ("variables", "code", "line"),
    [
        ({}, 0, "LEFT OUT tests/training needs pip install -e '.[train]'"),
        ({"TIERS_MAY_BE_MISSING": "train"}, 0, "LEFT OUT tests/bundle needs pip install -e '.[train]'"),
        (
            {"TIERS_MAY_BE_MISSING": "docs"},
            4,
            "ERROR: tests/bundle needs pip install -e '.[train]'; TIERS_MAY_BE_MISSING does not name train",
        ),
    ],
)
def test_an_extra_that_is_not_installed(
    machine: Path, variables: dict[str, str], code: int, line: str
) -> None:
    (machine / "no_timm.py").write_text("import sys\nsys.modules['timm'] = None\n")
    variables = variables | {"PYTHONPATH": f"{machine}:{ROOT}"}
    tests = ROOT / "tests" / "test_findings.py"
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no_timm"]
    found, printed = run(machine, *pytest_, "--collect-only", tests, **variables)
    assert found == code, printed
    assert line in printed.splitlines()


# --- continuous integration ---------------------------------------------------------------------------


@pytest.mark.parametrize(("variables", "value"), [({}, ""), ({"TIERS_MAY_BE_MISSING": "browser"}, "browser")])
def test_continuous_integration_allows_no_tier_to_be_missing_that_is_not_named(
    machine: Path, variables: dict[str, str], value: str
) -> None:
    put(machine, "make", '#!/bin/bash\necho "$*|${TIERS_MAY_BE_MISSING-unset}"\n')
    code, printed = run(machine, ROOT / ".ci" / "run", **variables)
    targets, _, found = printed.strip().partition("|")
    assert (code, targets.split()[-1], found) == (0, "test", value)
