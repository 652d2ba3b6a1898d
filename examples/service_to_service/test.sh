#!/usr/bin/env bash
# Tests what deploy.sh has deployed: discovery, failure, scaling, and a new version under load.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=lib.sh
. ./lib.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The frontend finds the backend.
frontend_is_ok() { curl -fsS http://frontend-web.app.local:3000/health | grep -q '"backend":"ok"'; }

# hosts_answer NUMBER: whether so many host names have answered by now.
hosts_answer() {
  curl -fsS "$api/api/data" | sed 's/.*"hostname":"\([^"]*\)".*/\1/' >>"$work/hosts"
  [ "$(sort -u "$work/hosts" | wc -l)" = "$1" ]
}

until_true 60 "the backend has two addresses" has_addresses 2
until_true 60 "the frontend reaches the backend" frontend_is_ok

# A backend dies.
victim=$(addresses | head -n 1)
pid=$(ss -Hltnp "src $victim" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')
[ -n "$pid" ] || fail "no process listens at $victim"
kill -9 "$pid"
until_true 60 "the killed backend $victim is not in DNS" has_left "$victim"
until_true 60 "another backend replaces it" has_addresses 2
curl -fsS "$api/health" >/dev/null
say "ok: the backend answers"

# Scale to 3.
aws ecs update-service --service backend-api-service --desired-count 3 >/dev/null
until_true 60 "the backend has three addresses" has_addresses 3
: >"$work/hosts"
until_true 60 "three hosts answer" hosts_answer 3

# A new version under load. A client keeps the addresses that DNS gave it for a second, as long as a short TTL, and no request
# fails: tasks go on after they have left DNS.
load() {
  local end address
  while [ ! -e "$work/stop" ]; do
    end=$((${EPOCHREALTIME/./} + 1000000))
    mapfile -t known < <(addresses)
    while [ "${EPOCHREALTIME/./}" -lt "$end" ]; do
      for address in "${known[@]}"; do
        if curl -fsS --max-time 5 "http://$address:8080/api/data" >>"$work/answers" 2>>"$work/failed"; then
          echo 1 >>"$work/requests"
        fi
      done
    done
    frontend_is_ok 2>/dev/null || echo "the frontend did not reach the backend" >>"$work/failed"
  done
}
load &
load=$!
VERSION=2 ./deploy.sh
touch "$work/stop"
wait "$load"
[ ! -s "$work/failed" ] || fail "$(wc -l <"$work/failed") requests failed during the deployment: $(tail -n 3 "$work/failed")"
grep -q '"version":"1"' "$work/answers" || fail "the old version answered nothing"
grep -q '"version":"2"' "$work/answers" || fail "the new version answered nothing"
say "ok: $(wc -l <"$work/requests") requests during the deployment, none failed"
for _ in $(seq 20); do
  curl -fsS "$api/api/data" | grep -q '"version":"2"' || fail "the old version still answers"
done
say "ok: only the new version answers"
