#!/usr/bin/env bash
# Runs a command on a network of its own:
#
#   netns.sh COMMAND [ARGUMENT...]
#
# The network namespace has nothing but loopback: every port is free, and no packet leaves the machine. In the
# mount namespace the files of lib/etc lie over those of /etc, so that names are asked of 127.0.0.1 and of nobody
# else, whatever the machine's resolver is. SD_ETC names another directory of such files, which COMMAND may write
# to. When COMMAND ends, what it has left running is killed. Works as root and, where the kernel allows it, as any
# other user.
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
PATH=$PATH:/usr/sbin:/sbin # where ip is, for users who do not have them

if [ "${SD_NETNS:-}" != inside ]; then
  root=
  [ "$(id -u)" = 0 ] || root=--map-root-user
  SD_NETNS=inside exec unshare ${root:+"$root"} --net --mount --pid --fork --kill-child "$self" "$@"
fi
unset SD_NETNS

ip link set lo up
for file in "${SD_ETC:-${self%/*}/etc}"/*; do
  # resolv.conf is often a symbolic link: what it points at is what has to be covered.
  mount --bind "$file" "$(readlink -f "/etc/${file##*/}")"
done
exec "$@"
