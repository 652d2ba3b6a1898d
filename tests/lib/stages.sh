# shellcheck shell=bash
# Runs stages, counts their results and prints a table. Sourced by tests/run.
#
# A stage NAME is a function stage_NAME. It calls `count` for its results, and `cannot` for anything that this machine
# cannot run. A stage that calls neither is a failure.

work=$(mktemp -d "${TMPDIR:-/tmp}/sd-tests.XXXXXX")
limit=30m       # the time limit of a command
child=          # the running command
trap 'end_child; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

stage=          # the current stage
log=$work/log   # its output
output=         # the output of its last command
commands=0
shown=          # not empty if the log has been printed
passed=0        # its results
failed=0
not_ok=         # stages that failed or were skipped
table=()        # one line per stage
skipped=()      # what could not run on this machine
all_passed=0
all_failed=0

# count PASSED FAILED
count() {
  passed=$((passed + $1)) failed=$((failed + $2))
}

# cannot REASON: this machine cannot run the stage or a part of it.
cannot() {
  skipped+=("$stage: $*")
}

# The output of a stage goes to its log. A terminal shows the log as it is written. Otherwise it is printed if the stage
# fails.
logged() {
  if [ -t 1 ]; then
    streamed "$@"
  else
    limited "$@"
  fi
}

# As `logged`, but always shown: for commands that print a line per step.
streamed() {
  shown=yes
  limited --show "$@"
}

# limited [--show] COMMAND: ends a command that hangs, so that the table is still printed. Each command writes to its own
# file, so that a process that outlives the command and keeps the file open delays nothing.
limited() {
  local status show='' follower=''
  if [ "$1" = --show ]; then
    show=yes
    shift
  fi
  commands=$((commands + 1)) output=$work/output-$commands
  : >"$output"
  # In the background, so that a signal interrupts the wait. Background commands would ignore SIGINT.
  env --default-signal=INT,QUIT timeout --kill-after=30 "$limit" "$@" </dev/null >>"$output" 2>&1 &
  child=$!
  if [ -n "$show" ]; then
    tail -n +1 -f -s 0.1 --pid="$child" "$output" 2>/dev/null &
    follower=$!
  fi
  wait "$child"
  status=$?
  child=
  [ -z "$follower" ] || wait "$follower"
  # A command can end with 124 or 137 by itself, hence "or killed".
  case $status in
    124 | 137) echo "ended after $limit, or killed: $*" | tee -a "$output" ;;
  esac
  cat "$output" >>"$log"
  return "$status"
}

# `timeout` passes the signal on to the command.
end_child() {
  [ -z "$child" ] || kill "$child" 2>/dev/null
}

# A command that passes or fails as a whole.
check() {
  if logged "$@"; then count 1 0; else count 0 1; fi
}

# count_steps STATUS: counts from the last line `N passed, N failed` of the last command, which ended with STATUS.
count_steps() {
  count_output "$1" "$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$output" | tail -n 1)"
}

# count_tests STATUS: counts from the result lines of cargo test. An ignored test counts as failed.
count_tests() {
  count_output "$1" "$(awk '/^test result: /{ p += $4; f += $6 + $8 } END { print p + 0, f + 0 }' "$output")"
  sed -n 's/^test \(.*\) \.\.\. ignored.*/ignored, which counts as failed: \1/p' "$output"
}

# count_output STATUS "PASSED FAILED": a failure that the command did not count, such as a compile error or a crash, counts
# as one. So does a command that counted nothing.
count_output() {
  local ran=${2:-0 0}
  # shellcheck disable=SC2086 # two words
  count $ran
  if [ "$ran" = "0 0" ]; then
    count 0 1
  elif [ "$1" != 0 ] && [ "${ran#* }" = 0 ]; then
    count 0 1
  fi
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
      echo "the stage ran nothing"
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

# Prints the table, what could not run, and the totals. Succeeds if nothing failed.
close_stages() {
  echo
  printf '%s\n' "${table[@]}"
  if [ "${#skipped[@]}" -gt 0 ]; then
    echo
    echo "Could not run on this machine:"
    printf '  %s\n' "${skipped[@]}"
    if [ "${CI:-}" = true ]; then
      all_failed=$((all_failed + ${#skipped[@]}))
      echo "Each counts as failed, because CI=true."
    fi
  fi
  echo
  echo "$all_passed passed, $all_failed failed"
  [ "$all_failed" = 0 ]
}
