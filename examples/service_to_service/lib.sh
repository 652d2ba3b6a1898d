# Settings and helpers of the scripts. Sourced, not run.

export AWS_ENDPOINT_URL=${AWS_ENDPOINT_URL:-http://localhost:5373} AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_PAGER=
export AWS_ACCESS_KEY_ID=${AWS_ACCESS_KEY_ID:-any} AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY:-any}
services=(backend-api frontend-web)
api=http://backend-api.app.local:8080

say() { printf '%s\n' "$*"; }

fail() {
  say "failed: $*" >&2
  exit 1
}

# until_true SECONDS WHAT COMMAND...: repeats a command until it succeeds.
until_true() {
  local seconds=$1 what=$2 end=$((SECONDS + $1))
  shift 2
  until "$@" 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || fail "not within $seconds s: $what"
    sleep 0.2
  done
  say "ok: $what"
}

# The id of app.local, or nothing.
namespace_id() {
  aws servicediscovery list-namespaces --query "Namespaces[?Name=='app.local'].Id" --output text
}

# registry_arn NAME: the ARN of a Cloud Map service, or nothing.
registry_arn() {
  aws servicediscovery list-services --query "Services[?Name=='$1'].Arn" --output text
}

# service_status NAME: the status of an ECS service, or nothing.
service_status() {
  aws ecs describe-services --services "$1-service" --query 'services[0].status' --output text
}

# The addresses of the backend, in order.
addresses() {
  dig +short backend-api.app.local A | sort
}

has_addresses() { [ "$(addresses | wc -l)" = "$1" ]; }

# Whether nobody is told this address.
has_left() { ! addresses | grep -qxF "$1"; }
