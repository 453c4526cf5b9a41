#!/bin/bash
# Build the MONAI Application Package with docker, podman or buildah, whichever is there.
#
#   BASE_IMAGE=...      Debian or Ubuntu with Python and its venv module (default: see the Containerfile)
#   PYTHON_VERSION=3.11 Python of that image
#   ONNXRUNTIME=...     in place of onnxruntime, such as onnxruntime-gpu==1.31.1
#   IMAGE=...           name of the image (default: bone-ssl-map:VERSION)
#   CONTEXT_ONLY=1      prepare build/map and stop
#
# The packages are downloaded here, by the pip that the caller has configured; the build itself needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:-python3}
context=build/map
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' monai_bone_ssl/__init__.py)
image=${IMAGE:-bone-ssl-map:$version}

prepare() {
    rm -rf "$context/deploy_app" "$context/docs" "$context/package"
    mkdir -p "$context/wheels" "$context/docs"
    cp -r deploy_app "$context/deploy_app"
    rm -rf "$context/deploy_app/__pycache__" "$context/deploy_app/examples"
    cp LICENSE CHANGELOG.md MODEL_CARD.md "$context/docs/"
    cp deploy_app/README.md "$context/docs/README.md"
    sed "s/^onnxruntime==.*/${ONNXRUNTIME:-&}/" deploy_app/requirements.txt > "$context/requirements.txt"
    "$python" -m pip wheel -q --no-deps --wheel-dir "$context/package" .
    download "$context/requirements.txt"
    download deploy_app/packaging/requirements-sbom.txt
}

download() {  # wheels only: nothing is compiled, and another Python than the image's will do
    local platforms=(--platform manylinux2014_x86_64)
    for minor in {18..36}; do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
    env -u PIP_CONSTRAINT "$python" -m pip download -q --no-deps --only-binary=:all: \
        --python-version "${PYTHON_VERSION:-3.11}" "${platforms[@]}" --dest "$context/wheels" -r "$1"
}

build() {
    local arguments=(--file deploy_app/Containerfile --tag "$image" --build-arg "VERSION=$version")
    if [ -n "${BASE_IMAGE:-}" ]; then arguments+=(--build-arg "BASE_IMAGE=$BASE_IMAGE"); fi
    if docker info > /dev/null 2>&1; then
        DOCKER_BUILDKIT=1 docker build "${arguments[@]}" "$context"
    elif command -v buildah > /dev/null; then
        # chroot: works without the rights that a container inside a container lacks
        buildah bud --isolation chroot --network host --layers "${arguments[@]}" "$context"
    elif command -v podman > /dev/null; then
        podman build "${arguments[@]}" "$context"
    else
        echo "make map: needs docker, podman or buildah; build/map is ready for any of them" >&2
        exit 1
    fi
}

prepare
if [ -n "${CONTEXT_ONLY:-}" ]; then exit 0; fi
build
echo "built $image"
