// A table of checks, which prints the lines that run.py reads.

const checks = new Map();
let names = 0;

/** Registers a function as this check. */
export function check(id, run) {
  checks.set(id, run);
}

/** A name that no other check uses. */
export function name(prefix = "n") {
  names += 1;
  return `${prefix}-${names}`;
}

/** Runs the checks one after the other, and sets the exit status. */
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
