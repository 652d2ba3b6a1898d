#!/usr/bin/env bash
# Runs a command in its own network namespace:
#
#   netns.sh COMMAND [ARGUMENT...]
#
# The network has only loopback: every port is free, and no packet leaves the machine. In the mount namespace, the
# files of lib/etc cover those of /etc, so that every name is resolved by 127.0.0.1, whatever the machine uses.
# SD_ETC names another directory of such files, which COMMAND may write to. When COMMAND ends, everything that it
# has left running is killed. Works as root and, where the kernel allows it, as any other user.
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
PATH=$PATH:/usr/sbin:/sbin # `ip` is there; not every user's PATH has it

if [ "${SD_NETNS:-}" != inside ]; then
  root=
  [ "$(id -u)" = 0 ] || root=--map-root-user
  SD_NETNS=inside exec unshare ${root:+"$root"} --net --mount --pid --fork --kill-child "$self" "$@"
fi
unset SD_NETNS

ip link set lo up
# So that processes have the numbers by which they are killed here.
mount -t proc proc /proc
for file in "${SD_ETC:-${self%/*}/etc}"/*; do
  # resolv.conf is often a symbolic link. The mount must cover its target.
  mount --bind "$file" "$(readlink -f "/etc/${file##*/}")"
done
exec "$@"
