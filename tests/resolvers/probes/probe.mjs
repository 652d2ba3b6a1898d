// The probe of Node.js: `lookup` uses the libc, `resolve` is Node's own resolver. run.py describes probes.

import dns from "node:dns/promises";
import readline from "node:readline";

const CLASSES = {
  ENOTFOUND: "no-such-name",
  ENODATA: "no-data",
  EAI_AGAIN: "try-again",
  ETIMEOUT: "try-again",
  ESERVFAIL: "try-again",
};
const FAMILIES = { A: 4, AAAA: 6, ADDRESSES: 0 };

const lookup = async (kind, name) =>
  (await dns.lookup(name, { all: true, family: FAMILIES[kind] })).map(({ address }) => address);

// Callers of `resolve` query each family separately and use what they get.
async function both(_, name) {
  const [ipv4, ipv6] = await Promise.allSettled([dns.resolve4(name), dns.resolve6(name)]);
  if (!ipv4.value && !ipv6.value) throw ipv4.reason;
  return [...(ipv4.value ?? []), ...(ipv6.value ?? [])];
}

const KINDS = {
  lookup: { A: lookup, AAAA: lookup, ADDRESSES: lookup },
  resolve: {
    A: (_, name) => dns.resolve4(name),
    AAAA: (_, name) => dns.resolve6(name),
    ADDRESSES: both,
    SRV: async (_, host) =>
      (await dns.resolveSrv(host)).map(({ priority, weight, port, name }) => [priority, weight, port, name]),
  },
}[process.argv[2]];

async function answer(kind, name) {
  if (!KINDS[kind]) return { error: "unsupported", text: `there is no call for ${kind}` };
  try {
    return await KINDS[kind](kind, name);
  } catch (error) {
    return { error: CLASSES[error.code] ?? "failure", text: String(error) };
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(...line.split(" "))));
}
