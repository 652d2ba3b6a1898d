#!/usr/bin/env bash
# Deletes what deploy.sh has deployed, and makes sure that nothing is left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=lib.sh
. ./lib.sh

for name in "${services[@]}"; do
  if [ "$(service_status "$name")" = ACTIVE ]; then
    aws ecs delete-service --service "$name-service" --force >/dev/null
  fi
done
is_inactive() { case $(service_status "$1") in INACTIVE | None) ;; *) false ;; esac; }
for name in "${services[@]}"; do until_true 60 "$name-service is gone" is_inactive "$name"; done
for name in "${services[@]}"; do
  arn=$(registry_arn "$name")
  # Its instances leave with the tasks.
  [ -z "$arn" ] || until_true 60 "$name is deleted" aws servicediscovery delete-service --id "${arn##*/}"
  for definition in $(aws ecs list-task-definitions --family-prefix "$name" --query 'taskDefinitionArns' --output text); do
    aws ecs deregister-task-definition --task-definition "$definition" >/dev/null
  done
done
namespace=$(namespace_id)
[ -z "$namespace" ] || aws servicediscovery delete-namespace --id "$namespace" >/dev/null

is_gone() { [ -z "$(namespace_id)" ]; }
until_true 60 "the namespace is deleted" is_gone
for name in "${services[@]}"; do
  [ -z "$(registry_arn "$name")" ] || fail "the Cloud Map service $name is left"
  for status in RUNNING STOPPED; do
    tasks=$(aws ecs list-tasks --family "$name" --desired-status "$status" --query taskArns --output text)
    [ -z "$tasks" ] || [ -z "$(aws ecs describe-tasks --tasks $tasks --query "tasks[?lastStatus!='STOPPED'].taskArn" \
      --output text)" ] || fail "tasks of $name are left"
  done
done
[ -z "$(addresses)" ] || fail "DNS still answers: $(addresses)"
say "ok: nothing is left"
