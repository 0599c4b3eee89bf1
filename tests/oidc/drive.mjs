// Shows that the gate gets along with a real OpenID Connect provider: tokens through discovery, keys
// that change under load, a provider that stops and comes back.
//
// Usage: node drive.mjs LYCHGATE DIRECTORY, with the packages beside it. Started by tests/oidc/run.

import { Identity } from "./provider.mjs";
import { startDemo, startGate } from "./gate.mjs";

const UNKNOWN_JOB = "00000000-0000-4000-8000-000000000000";
const PATIENCE_MS = 60_000;
const LOAD = 600;
const LOAD_WORKERS = 8;

let failures = 0;

/** Says what holds and counts what does not. */
function check(name, seen, expected) {
  const holds = seen === expected;
  console.log(holds ? `ok     ${name}` : `FAILED ${name}: ${seen} for ${expected}`);
  failures += holds ? 0 : 1;
}

const [lychgate, directory] = process.argv.slice(2);
const identity = new Identity({ cleaner: ["cleaners"], stranger: ["visitors"] });
await identity.start();
identity.rotate("first", "ES256");
const [demo, document] = await startDemo(lychgate, `${directory}/demo.log`);
const gate = await startGate(lychgate, directory, identity.issuer, document, `${directory}/gate.log`);

/** A delete; status and code as one text. */
async function remove(token, job = UNKNOWN_JOB) {
  const response = await fetch(`${gate.gate}/v2/${document.project_id}/training-jobs/${job}`, {
    method: "DELETE",
    headers: { authorization: `Bearer ${token}` },
  });
  const text = await response.text();
  return text ? `${response.status} ${JSON.parse(text).error_code}` : `${response.status}`;
}

/** Checks that `ask` answers `expected` in the end, and until then nothing but those of `before`. */
async function eventually(name, ask, before, expected) {
  const deadline = Date.now() + PATIENCE_MS;
  let seen = await ask();
  while (before.includes(seen) && Date.now() < deadline) {
    await new Promise((done) => setTimeout(done, 100));
    seen = await ask();
  }
  check(name, seen, expected);
}

async function ready() {
  const response = await fetch(`${gate.admin}/readyz`).catch(() => ({ status: 0 }));
  return response.status;
}

// An answer of the cloud: the token was accepted, and the policy said yes.
const PASSED = "400 ModelArts.2775";
const KEYS_UNAVAILABLE = "503 Lychgate.5033";

async function tokens() {
  const token = await identity.token("cleaner");
  check("a token through discovery", await remove(token, document.jobs[0].id), "202");
  check("who may not", await remove(await identity.token("stranger")), "403 Lychgate.4033");
  const other = await identity.token("cleaner", "https://other.example");
  check("another audience", await remove(other), "401 Lychgate.4015");
}

/** The keys change in the middle of the load: tokens of both keys are good all the time. */
async function rotation() {
  const old = await identity.token("cleaner");
  let current = old;
  const seen = new Map();
  let sent = 0;
  const worker = async () => {
    for (let at = sent++; at < LOAD; at = sent++) {
      if (at === LOAD / 3) {
        identity.rotate("second", "RS256");
        current = await identity.token("cleaner");
      }
      const answer = await remove(at % 2 === 0 ? old : current);
      seen.set(answer, (seen.get(answer) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: LOAD_WORKERS }, worker));
  const summary = [...seen].map(([answer, count]) => `${count} × ${answer}`).join(", ");
  check("keys change under load", summary, `${LOAD} × ${PASSED}`);

  identity.retire();
  // 503 while the gate may not look again so soon: the key could have come back since it looked.
  const gone = "a key that is no longer published ends its tokens";
  await eventually(gone, () => remove(old), [PASSED, KEYS_UNAVAILABLE], "401 Lychgate.4013");
  check("the others go on", await remove(current), PASSED);
}

async function outage() {
  const token = await identity.token("cleaner");
  check("before the outage", await remove(token), PASSED);
  await identity.stop();
  check("keys are used on for a while", await remove(token), PASSED);
  // Never 401: nobody knows whether the token is bad.
  await eventually("then the gate cannot tell", () => remove(token), [PASSED], KEYS_UNAVAILABLE);
  check("and is not ready", await ready(), 503);
  await identity.start();
  await eventually("the provider is back", () => remove(token), [KEYS_UNAVAILABLE], PASSED);
  check("and the gate is ready", await ready(), 200);
}

try {
  await eventually("the gate listens", async () => (await ready()) === 0, [true], false);
  await eventually("the gate is ready", ready, [503], 200);
  await tokens();
  await rotation();
  await outage();
} finally {
  check("the gate ends on SIGTERM", await gate.process.stop(), 0);
  check("the demo ends on SIGTERM", await demo.stop(), 0);
  await identity.stop();
}
if (failures) {
  console.error(`tests/oidc: FAILED: ${failures}, see the logs in ${directory}`);
}
process.exitCode = failures ? 1 : 0;
