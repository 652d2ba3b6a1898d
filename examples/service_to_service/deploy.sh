#!/usr/bin/env bash
# Deploys backend and frontend, or a new version of them:
#
#   VERSION=1 ./deploy.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=lib.sh
. ./lib.sh

has_namespace() { [ -n "$(namespace_id)" ]; }

if ! has_namespace; then
  aws servicediscovery create-private-dns-namespace --name app.local --vpc vpc-default >/dev/null
  until_true 60 "the namespace app.local exists" has_namespace
fi
namespace=$(namespace_id)

for name in "${services[@]}"; do
  if [ -z "$(registry_arn "$name")" ]; then
    aws servicediscovery create-service \
      --name "$name" \
      --namespace-id "$namespace" \
      --dns-config "NamespaceId=$namespace,DnsRecords=[{Type=A,TTL=60}]" \
      --health-check-config "Type=HTTP,ResourcePath=/health,FailureThreshold=3" >/dev/null
  fi
  definition=$(sed "s/@VERSION@/${VERSION:-1}/" "$name.task-definition.json")
  aws ecs register-task-definition --cli-input-json "$definition" >/dev/null
  if [ "$(service_status "$name")" = ACTIVE ]; then
    aws ecs update-service --service "$name-service" --task-definition "$name" >/dev/null
  else
    service=$(sed "s|@REGISTRY_ARN@|$(registry_arn "$name")|" "$name.service.json")
    aws ecs create-service --cli-input-json "$service" >/dev/null
  fi
done
aws ecs wait services-stable --services "${services[@]/%/-service}"
say "ok: version ${VERSION:-1} runs"
