#!/usr/bin/env bash
# Runs the whole example: builds it, starts the emulator, deploys, tests and cleans up. Needs cargo, go, aws, dig and curl.
#
#   ./run.sh                  on this machine, in a network of its own
#
# EMULATOR names an embed_in_emulator that is built already, and GO a go command.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"

# The parts of a network of its own: every port is free, and names are resolved by 127.0.0.1.
if [ "${1:-}" != inside ]; then
  if [ -z "${EMULATOR:-}" ]; then
    cargo build --release --manifest-path ../embed_in_emulator/Cargo.toml
    EMULATOR=$(cargo metadata --no-deps --format-version 1 --manifest-path ../embed_in_emulator/Cargo.toml \
      | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/embed_in_emulator
  fi
  images=$(mktemp -d)
  trap 'rm -rf "$images"' EXIT
  "${GO:-go}" build -o "$images/backend-api" backend/main.go
  "${GO:-go}" build -o "$images/frontend-web" frontend/main.go
  EMULATOR=$EMULATOR ../../tests/lib/netns.sh "$here/run.sh" inside "$images"
  exit
fi
images=$2

# A second of ECS is short, so that health checks every 30 seconds do not take long. Tasks go on for three seconds after they
# left discovery, because clients still have their addresses. With DRAIN=0, the test under load fails.
"$EMULATOR" --dns 127.0.0.1:53 --images "$images" --second 50 --drain "${DRAIN:-3000}" &
emulator=$!
trap 'kill "$emulator"' EXIT
for _ in $(seq 100); do curl -s localhost:5373 >/dev/null && break || sleep 0.1; done

./deploy.sh
./test.sh
./clean-up.sh
left=$(pgrep -f "^$images/" || true)
[ -z "$left" ] || { echo "failed: processes are left: $left" >&2; exit 1; }
