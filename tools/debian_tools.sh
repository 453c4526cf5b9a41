#!/bin/bash
# debian_tools.sh TABLE...: install Debian's packages that tests use, when run as root.
# A line of a table: a file of the package | the package | the tier of tests that needs it.
#
# Each package that cannot be had is named in one line, and pytest skips the tests of its tier. Where
# TIERS_MAY_BE_MISSING is set, a tier that it does not name is an error instead.
set -euo pipefail
cd "$(dirname "$0")/.."

missing() {
    cat "$@" | while IFS='|' read -r file package tier; do
        compgen -G "$file" >/dev/null || echo "$package|$tier"
    done
}

packages=$(missing "$@" | cut -d'|' -f1 | xargs)
[ -n "$packages" ] || exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian packages: $packages"
    # shellcheck disable=SC2086 # a list of names
    tools/apt_install.sh $packages || true # what is missing then is named below
fi

code=0
while IFS='|' read -r package tier; do
    if [[ " ${TIERS_MAY_BE_MISSING-$tier} " == *" $tier "* ]]; then
        echo "SKIPPED TIER: $tier (Debian package $package is not installed)"
    else
        echo "MISSING TIER: $tier (Debian package $package is not installed; TIERS_MAY_BE_MISSING does not name it)" >&2
        code=1
    fi
done < <(missing "$@")
exit "$code"
