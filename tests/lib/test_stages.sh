#!/usr/bin/env bash
# Tests stages.sh: runs small stages and checks the totals. Ends with `N passed, N failed`.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
passed=0 failed=0

# expect NAME TOTALS STATUS STAGES: evaluates STAGES, runs the stages `one` and `two`, and compares the last line and the status.
expect() {
  local name=$1 totals=$2 status=$3 got ended
  got=$(
    CI='' bash -c '
      set -uo pipefail
      . "$1/stages.sh"
      stage_two() { check true; }
      eval "$2"
      run_stage one
      run_stage two
      close_stages
    ' - "$here" "$4" 2>&1
  )
  ended=$?
  if [ "$(tail -n 1 <<<"$got")" = "$totals" ] && [ "$ended" = "$status" ]; then
    passed=$((passed + 1))
    echo "ok       $name"
  else
    failed=$((failed + 1))
    printf 'FAILED   %s\n         expected %s and status %s, got %s and this:\n%s\n' "$name" "$totals" "$status" "$ended" "$got"
  fi
}

# shellcheck disable=SC2016 # the stages are expanded where they run
{
  steps='steps() { streamed sh -c "$1"; count_steps $?; }'
  expect "steps are added up" "31 passed, 0 failed" 0 "$steps"'
    stage_one() { steps "echo 10 passed, 0 failed"; steps "echo 20 passed, 0 failed"; }'
  expect "a crash before the totals does not repeat those of the previous program" "601 passed, 1 failed" 1 "$steps"'
    stage_one() { steps "echo 600 passed, 0 failed"; steps "exit 101"; }'
  expect "a crash after the totals is a failure" "601 passed, 1 failed" 1 "$steps"'
    stage_one() { steps "echo 600 passed, 0 failed; exit 101"; }'
  expect "each crash counts, even after other failures" "2 passed, 3 failed" 1 "$steps"'
    stage_one() { steps "echo 1 passed, 1 failed; exit 1"; steps "exit 101"; steps "exit 101"; }'
  expect "a program that counts nothing is a failure" "3 passed, 1 failed" 1 "$steps"'
    stage_one() { steps "echo 2 passed, 0 failed"; steps "true"; }'
  expect "zero steps are a failure" "1 passed, 1 failed" 1 "$steps"'
    stage_one() { steps "echo 0 passed, 0 failed"; }'
  expect "the table is printed even if a stage hangs" "3 passed, 1 failed" 1 "$steps"'
    limit=1s
    stage_one() { steps "echo 2 passed, 0 failed"; steps "echo before; sleep 600"; }'
  expect "a silent command that hangs is ended" "1 passed, 1 failed" 1 '
    limit=1s
    stage_one() { check sleep 600; }'
  expect "a process that outlives its command delays nothing" "2 passed, 0 failed" 0 "$steps"'
    stage_one() { steps "setsid sleep 5 & echo 1 passed, 0 failed"; }'
  expect "the last totals of a command count" "6 passed, 0 failed" 0 "$steps"'
    stage_one() { steps "echo 2 passed, 0 failed; echo 5 passed, 0 failed"; }'
  results='tests() { logged printf "test result: ok. %s passed; %s failed; %s ignored;\n" "$@"; count_tests $?; }'
  expect "results of cargo test are added up" "8 passed, 0 failed" 0 "$results"'
    stage_one() { tests 3 0 0 0 0 0; tests 4 0 0; }'
  expect "an ignored test is a failure" "4 passed, 1 failed" 1 "$results"'
    stage_one() { tests 3 0 1; }'
  expect "cargo test without a test is a failure" "1 passed, 1 failed" 1 "$results"'
    stage_one() { tests 0 0 0; }'
  expect "a stage that runs nothing is a failure" "1 passed, 1 failed" 1 'stage_one() { :; }'
  expect "a stage that cannot run is neither passed nor failed" "1 passed, 0 failed" 0 'stage_one() { cannot "it is missing"; }'
  expect "a stage that cannot run fails in CI" "1 passed, 1 failed" 1 'CI=true; stage_one() { cannot "it is missing"; }'
  expect "a signal ends a command and its stage" "interrupted" 143 '
    stage_one() { streamed sh -c "kill -TERM \$0; sleep 600" $$; }
    trap "echo interrupted; exit 143" TERM'
}
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
