"""The build context that ``monai-deploy package`` hands to docker, made without docker.

    python build_context.py OUT APP --config app.yaml --models models/ --platform x86_64 --tag NAME

All arguments after OUT are those of ``monai-deploy package``. OUT gets the packager's whole build context:
Dockerfile, map/app.json, map/pkg.json, app/, models/, app.config and tools. The two manifests of this
project's own image come from here, so that they are what the packager of the SDK writes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from holoscan_cli.__main__ import main as holoscan_cli_main
from holoscan_cli.packager.container_builder import BuilderBase
from holoscan_cli.packager.parameters import PlatformBuildResults, PlatformParameters

_ARTIFACTS = Path(__file__).with_name("artifacts.json")


def main(out: Path, package_arguments: list[str]) -> None:
    """Run the packager with its last step, the build, replaced by a copy of the build context.

    Parameters
    ----------
    out
        Folder that does not exist yet.
    package_arguments
        Arguments of ``monai-deploy package``.
    """

    def copy_context(
        builder: BuilderBase, _dockerfile: str, platform: PlatformParameters
    ) -> PlatformBuildResults:
        shutil.copytree(builder._temp_dir, out)
        results = PlatformBuildResults(platform)
        results.succeeded = True
        return results

    BuilderBase._build_internal = copy_context
    # The program's name would choose the SDK, were it called as monai-deploy.
    chosen = ["--sdk", "monai-deploy", "--source", str(_ARTIFACTS)]
    holoscan_cli_main(["monai-deploy", "package", *chosen, *package_arguments])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
