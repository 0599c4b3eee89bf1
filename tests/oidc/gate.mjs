// The parts of the set-up that are the project's own: `lychgate demo` for its emulator, and
// `lychgate serve` from a configuration file that trusts the provider.

import { spawn } from "node:child_process";
import { mkdirSync, openSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";

/** Ports that were free a moment ago. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((it) => once(it, "listening")));
  const ports = servers.map((it) => it.address().port);
  await Promise.all(servers.map((it) => new Promise((done) => it.close(done))));
  return ports;
}

export class Process {
  constructor(command, log) {
    const [program, ...rest] = command;
    this.child = spawn(program, rest, { stdio: ["ignore", "pipe", openSync(log, "w")] });
    this.ended = once(this.child, "exit").then(([code]) => code);
  }

  async stop() {
    this.child.kill("SIGTERM");
    return this.ended;
  }
}

/** `lychgate demo`, and the document that it prints. */
export async function startDemo(lychgate, log) {
  const any = "127.0.0.1:0";
  const options = ["--format", "json", "--gate", any, "--admin", any, "--emulator", any];
  const demo = new Process([lychgate, "demo", ...options], log);
  let text = "";
  for await (const part of demo.child.stdout) {
    text += part;
    try {
      return [demo, JSON.parse(text)];
    } catch {
      // The document goes on.
    }
  }
  throw new Error(`the demo printed no document, see ${log}`);
}

const ALLOW = { Effect: "Allow", Action: ["modelarts:trainJob:delete"] };

/** `lychgate serve` in `directory`, in front of the demo's emulator. */
export async function startGate(lychgate, directory, issuer, demo, log) {
  const [gate, admin] = await freePorts(2);
  const put = (name, text) => writeFileSync(`${directory}/${name}`, text, { mode: 0o600 });
  mkdirSync(`${directory}/policies/identity`, { recursive: true });
  put("policies/identity/clean.json", JSON.stringify({ Version: "5.0", Statement: [ALLOW] }));
  put("policies/attachments.yaml", "- {to: [group:corp/cleaners], policies: [clean]}\n");
  put("cloud.yaml", `ak: ${demo.cloud_key.ak}\nsk: ${demo.cloud_key.sk}\n`);
  put(
    "lychgate.yaml",
    `listen:
  - {address: '127.0.0.1:${gate}'}
admin: {address: '127.0.0.1:${admin}'}
identity:
  jwt:
    - name: corp
      issuer: ${issuer}
      audience: [lychgate]
      jwks: {discovery: true, stale: 10s}
      algorithms: [ES256, RS256]
      claims: {groups: groups}
policies: {directory: policies}
upstreams:
  - name: emulator
    kind: modelarts
    projects: [${demo.project_id}]
    endpoint: ${demo.emulator}
    region: cn-north-4
    account: '123'
    credentials: {file: cloud.yaml}
ledger: {directory: ledger}
limits: {per_principal: {rate: 10000, burst: 10000}}
`,
  );
  const process = new Process([lychgate, "serve", "--config", `${directory}/lychgate.yaml`], log);
  return { process, gate: `http://127.0.0.1:${gate}`, admin: `http://127.0.0.1:${admin}` };
}
