// A table of checks, which prints what the runner reads.

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
