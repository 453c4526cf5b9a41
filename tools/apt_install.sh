#!/bin/bash
# apt_install.sh PACKAGE...: install Debian packages, as root.
#
# Another program may hold a lock, as a machine's own updates do after it starts. For dpkg's, apt-get waits itself
# where it is told to; for those of the lists and of the archives it does not, so it is tried again. Each wait ends
# after five minutes.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
tries=60
pause=5

apt() {
    local said
    for ((try = 1; ; try++)); do
        if said=$(apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" 2>&1); then
            return
        elif [ "$try" -lt "$tries" ] && grep -Eq 'Could not get lock .*/apt/(lists|archives)/' <<<"$said"; then
            if [ "$try" -eq 1 ]; then echo "Waiting for another program that uses apt"; fi
            sleep "$pause"
        else
            echo "$said" >&2
            return 1
        fi
    done
}

apt update
apt install -y -o Dpkg::Use-Pty=0 --no-install-recommends "$@"
