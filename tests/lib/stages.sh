# shellcheck shell=bash
# Runs stages, counts what they ran and prints the table. Sourced by tests/run.
#
# A stage NAME is a function stage_NAME that calls `count` for what it has run and `cannot` for what this machine
# does not let it run. A stage that counts nothing and names nothing is a failure.

work=$(mktemp -d "${TMPDIR:-/tmp}/sd-tests.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

stage=          # the current one
log=$work/log   # its output
shown=          # not empty when the log has been on the screen
passed=0        # what it has counted
failed=0
not_ok=         # the stages that others cannot build upon
table=()        # one line per stage
skipped=()      # what could not run on this machine
all_passed=0
all_failed=0

# count PASSED FAILED
count() {
  passed=$((passed + $1)) failed=$((failed + $2))
}

# cannot REASON: this machine cannot run the stage, or a part of it.
cannot() {
  skipped+=("$stage: $*")
}

# The output of a stage goes to its log. The log is shown as it comes on a terminal, and else when the stage is not
# ok. CI ends a command that hangs, so that the table is printed all the same.
logged() {
  local limit=()
  [ "${CI:-}" != true ] || limit=(timeout --kill-after=10 30m)
  if [ -t 1 ]; then
    shown=yes
    ${limit[@]+"${limit[@]}"} "$@" </dev/null 2>&1 | tee -a "$log"
  else
    ${limit[@]+"${limit[@]}"} "$@" </dev/null >>"$log" 2>&1
  fi
}

# As `logged`, and shown in any case: for commands that print a line per step.
streamed() {
  shown=yes
  "$@" </dev/null 2>&1 | tee -a "$log"
}

# A command that passes or fails as a whole.
check() {
  if logged "$@"; then count 1 0; else count 0 1; fi
}

# count_steps STATUS: counts by the closing line `N passed, N failed` of a command that ended with STATUS.
count_steps() {
  count_log "$1" "$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log" | tail -n 1)"
}

# count_tests STATUS: counts by the result lines of cargo test. An ignored test counts as failed: there is to be none.
count_tests() {
  count_log "$1" "$(awk '/^test result: /{ p += $4; f += $6 + $8 } END { print p + 0, f + 0 }' "$log")"
  sed -n 's/^test \(.*\) \.\.\. ignored.*/ignored, which counts as failed: \1/p' "$log"
}

# count_log STATUS "PASSED FAILED"; a failure that has not been counted, such as one to compile, counts as one.
count_log() {
  # shellcheck disable=SC2086 # two words
  count ${2:-0 0}
  if [ "$1" != 0 ] && [ "$failed" = 0 ]; then count 0 1; fi
}

add_row() {
  local result=$1 seconds=$2
  table+=("$(printf '%-9s %-8s %4d s   %4d passed, %d failed' "$stage" "$result" "$seconds" "$passed" "$failed")")
  all_passed=$((all_passed + passed)) all_failed=$((all_failed + failed))
}

# run_stage NAME [STAGE IT NEEDS]
run_stage() {
  stage=$1 passed=0 failed=0 shown=
  local needed=${2:-} named=${#skipped[@]} started=$SECONDS result=ok
  if [ -n "$needed" ] && [[ " $not_ok " == *" $needed "* ]]; then
    echo "== $stage: not run, because $needed failed"
    count 0 1
    not_ok+=" $stage"
    add_row 'not run' 0
    return
  fi

  echo "== $stage"
  : >"$log"
  "stage_$stage"
  if [ "$passed" = 0 ] && [ "$failed" = 0 ]; then
    if [ "${#skipped[@]}" -gt "$named" ]; then
      result=skipped
    else
      echo "it ran nothing"
      count 0 1
    fi
  fi
  [ "$failed" = 0 ] || result=FAILED
  if [ "$result" != ok ]; then
    not_ok+=" $stage"
    [ -n "$shown" ] || grep -v ' \.\.\. ok$' "$log" | tail -n 1000
  fi
  add_row "$result" $((SECONDS - started))
  echo "== $stage: $result"
}

# Prints the table, what could not run, and the totals; returns whether all is well.
close_stages() {
  echo
  printf '%s\n' "${table[@]}"
  if [ "${#skipped[@]}" -gt 0 ]; then
    echo
    echo "Could not run on this machine:"
    printf '  %s\n' "${skipped[@]}"
    if [ "${CI:-}" = true ]; then
      all_failed=$((all_failed + ${#skipped[@]}))
      echo "Each counts as failed, because CI is true."
    fi
  fi
  echo
  echo "$all_passed passed, $all_failed failed"
  [ "$all_failed" = 0 ]
}
