// A table of checks, which prints what the runner reads.

import { isDeepStrictEqual, inspect } from "node:util";

const checks = new Map();
let names = 0;

/** Enters a function as this check. */
export function check(id, run) {
  checks.set(id, run);
}

/** A name that no other check has. */
export function name(prefix = "n") {
  names += 1;
  return `${prefix}-${names}`;
}

export function equal(got, expected) {
  require(isDeepStrictEqual(got, expected), `${inspect(got)} is not ${inspect(expected)}`);
}

export function require(holds, complaint) {
  if (!holds) throw new Error(complaint);
}

/** Does the checks one after the other, and sets the exit status. */
export async function runAll() {
  for (const [id, run] of checks) {
    try {
      await run();
      console.log(`ok ${id}`);
    } catch (error) {
      console.log(`not ok ${id}: ${String(error).replace(/\s+/g, " ")}`);
      console.error(error);
      process.exitCode = 1;
    }
  }
}
