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
aws ecs wait services-inactive --services "${services[@]/%/-service}"
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
[ "$(aws servicediscovery list-services --query 'length(Services)')" = 0 ] || fail "Cloud Map services are left"
[ "$(aws ecs list-services --query 'length(serviceArns)')" = 0 ] || fail "ECS services are left"
[ "$(aws ecs list-tasks --query 'length(taskArns)')" = 0 ] || fail "tasks are left"
[ -z "$(addresses)" ] || fail "DNS still answers: $(addresses)"
say "ok: nothing is left"
