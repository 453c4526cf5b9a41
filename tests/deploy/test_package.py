"""The package around the application: its entry point, its manifests, and monai-deploy's build context."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pydicom_files import real_radiograph

from deploy.conftest import APP, ROOT
from monai_bone_ssl import __version__

VARIABLES = ("APPLICATION", "MODEL_PATH", "DOCS_PATH", "EXPORT_PATH")


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    """A package's folders and environment, with an application that prints its arguments and fails with 4."""
    for name in ("application", "model_path", "docs_path", "export_path"):
        (tmp_path / name).mkdir()
    (tmp_path / "application" / "app.py").write_text("import sys; print(sys.argv[1:]); sys.exit(4)")
    (tmp_path / "model_path" / "model.json").write_text("{}")
    (tmp_path / "docs_path" / "README.md").write_text("read me")
    (tmp_path / "app.yaml").write_text("application:")
    (tmp_path / "app.json").write_text('{"which": "application"}')
    (tmp_path / "pkg.json").write_text('{"which": "package"}')
    return os.environ | {
        **{f"HOLOSCAN_{name}": str(tmp_path / name.lower()) for name in VARIABLES},
        "HOLOSCAN_CONFIG_PATH": str(tmp_path / "app.yaml"),
        "HOLOSCAN_APP_MANIFEST_PATH": str(tmp_path / "app.json"),
        "HOLOSCAN_PKG_MANIFEST_PATH": str(tmp_path / "pkg.json"),
    }


def entrypoint(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(APP / "entrypoint"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def extracted(environment: dict[str, str]) -> set[str]:
    folder = Path(environment["HOLOSCAN_EXPORT_PATH"])
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_runs_the_application_and_returns_its_exit_code(package: dict[str, str]) -> None:
    ran = entrypoint(package, "-i", "a folder", "*")
    assert (ran.returncode, ran.stdout) == (4, "['-i', 'a folder', '*']\n")


def test_shows_manifests(package: dict[str, str]) -> None:
    assert json.loads(entrypoint(package, "show", "app").stdout) == {"which": "application"}
    assert json.loads(entrypoint(package, "show", "pkg").stdout) == {"which": "package"}
    both = entrypoint(package, "show").stdout
    assert "application" in both
    assert "package" in both
    assert entrypoint(package, "show", "me").returncode == 2


def test_prints_the_environment(package: dict[str, str]) -> None:
    assert f"HOLOSCAN_APPLICATION={package['HOLOSCAN_APPLICATION']}" in entrypoint(
        package, "env"
    ).stdout.split("\n")


def test_help_names_every_command(package: dict[str, str]) -> None:
    text = entrypoint(package, "help").stdout
    assert all(f"  {command} " in text for command in ("show", "env", "extract", "help"))


def test_extracts_everything(package: dict[str, str]) -> None:
    assert entrypoint(package, "extract").returncode == 0
    configuration = {f"config/{name}" for name in ("app.json", "pkg.json", "app.yaml")}
    assert extracted(package) == {"app/app.py", "models/model.json", "docs/README.md", *configuration}


def test_extracts_only_what_is_mounted(package: dict[str, str]) -> None:
    (Path(package["HOLOSCAN_EXPORT_PATH"]) / "models").mkdir()
    assert entrypoint(package, "extract").returncode == 0
    assert extracted(package) == {"models/model.json"}


def test_extract_without_a_mount_says_so(package: dict[str, str]) -> None:
    Path(package["HOLOSCAN_EXPORT_PATH"]).rmdir()
    ran = entrypoint(package, "extract")
    assert ran.returncode == 1
    assert "mount a folder" in ran.stderr


# --- monai-deploy package -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def context(
    sdk_python: Path, sdk_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What the SDK's packager hands to docker."""
    folder = tmp_path_factory.mktemp("package")
    app = folder / "app"
    app.mkdir()
    for name in ("app.py", "messages.py", "operators.py", "requirements.txt"):
        shutil.copy(APP / name, app)
    # Beside app.py, where Python finds it. The packager's --add would put each of its folders on PYTHONPATH.
    without_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "monai_bone_ssl", app / "monai_bone_ssl", ignore=without_bytecode)
    shutil.copytree(ROOT / "bundle" / "models", folder / "models" / "bone_xray_ssl")
    arguments = ["--config", APP / "app.yaml", "--models", folder / "models", "--platform", "x86_64"]
    subprocess.run(
        [
            *(sdk_python, "-B", APP / "packaging" / "build_context.py"),
            *(folder / "context", app / "app.py", *arguments, "--tag", "bone-ssl-map"),
        ],
        env=sdk_environment,
        check=True,
        capture_output=True,
    )
    return folder / "context"


def test_packager_accepts_the_application(context: Path) -> None:
    assert (context / "app" / "app.py").read_bytes() == (APP / "app.py").read_bytes()
    assert (context / "models" / "bone_xray_ssl" / "model.onnx").is_file()
    dockerfile = (context / "Dockerfile").read_text()
    assert "COPY ./app /opt/holoscan/app" in dockerfile
    assert "COPY ./models  /opt/holoscan/models" in dockerfile
    assert (context / "pip" / "requirements.txt").read_text().strip()


def test_packaged_application_runs_on_its_own(
    context: Path, sdk_python: Path, sdk_environment: dict[str, str], tmp_path: Path
) -> None:
    """As the packager's image would: nothing of this checkout on the path, the model in its place."""
    environment = sdk_environment | {"PYTHONPATH": "", "HOLOSCAN_MODEL_PATH": str(context / "models")}
    arguments = ("-i", real_radiograph("RG3_UNCR.dcm"), "-o", tmp_path / "out")
    command = [sdk_python, "-B", context / "app" / "app.py", *arguments]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "out").glob("SR_*.dcm"))) == 1


def test_manifests_say_what_the_entry_point_does(context: Path) -> None:
    app = json.loads((context / "map" / "app.json").read_text())
    package = json.loads((context / "map" / "pkg.json").read_text())
    assert json.loads(app["command"]) == ["python3", "/opt/holoscan/app/app.py"]
    assert 'exec python3 "$HOLOSCAN_APPLICATION/app.py" "$@"' in (APP / "entrypoint").read_text()
    assert (app["sdk"], app["sdkVersion"], app["version"]) == ("monai-deploy", "4.0.0", __version__)
    assert package["models"] == {"bone_xray_ssl": "/opt/holoscan/models/bone_xray_ssl"}
    assert package["resources"]["gpu"] == 0


def test_environment_of_the_image_is_that_of_the_manifest(context: Path) -> None:
    environment = json.loads((context / "map" / "app.json").read_text())["environment"]
    image = dict(re.findall(r"(HOLOSCAN_\w+)=(\S+)", (APP / "Containerfile").read_text()))
    # The packager gives input and output relative to the working directory.
    for name in ("HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH"):
        environment[name] = str(Path(environment["HOLOSCAN_WORKDIR"]) / environment[name])
    assert image == environment


def test_pins_of_the_core_are_those_it_is_tested_with() -> None:
    """The package analyses with the versions of constraints.txt, or its answers could differ."""
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (APP / "requirements.txt").read_text(), re.MULTILINE))
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    core = ("highdicom", "imagecodecs", "msgspec", "numpy", "onnxruntime", "pillow", "pydicom", "pyjpegls")
    assert {name: pins[name] for name in core} == {name: tested[name] for name in core}
