#!/bin/bash
# demo.sh BIN RADIOGRAPHS OUT: analyse five real radiographs of pydicom-data with the model shipped.
# RG3 is a tibia, uncompressed, in lossless and in lossy JPEG 2000; RG1 a chest, which the model does not cover.
set -euo pipefail
bin=$1
radiographs=$2
out=$3
expected=4 # some images not analysed: the chest

code=0
"$bin/bone-ssl" analyze "$radiographs"/RG3_{UNCR,J2KR,J2KI}.dcm "$radiographs"/RG1_{UNCR,J2KR}.dcm -o "$out" || code=$?
if [ "$code" -ne "$expected" ]; then
    echo "demo: exit code $code, expected $expected" >&2
    exit 1
fi
echo "Exit code 4, as it should be: the chest is not analysed, because the model was made for limbs."
