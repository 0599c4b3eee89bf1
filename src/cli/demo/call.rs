//! The calls of the demo: what to send, what will be answered, and why.

use super::setup::{AccessKey, Files, KEY_PRINCIPAL, Secrets};
use crate::app::App;
use crate::emulator::Emulator;
use crate::emulator::sample::PROJECT;

use serde::Serialize;
use serde_json::json;
use std::fmt::Write;
use std::net::SocketAddr;

/// A call without a principal.
const NOBODY: &str = "";

/// The job that somebody deletes past the gate.
const PAST_THE_GATE: &str = "b7e41d93-c5a6-4f08-9d2b-60e8a3f7c514";

/// Name, who calls, job, status, error code, why.
type Row = (&'static str, &'static str, &'static str, u16, Option<&'static str>, &'static str);

const CALLS: &[Row] = &[
    (
        "allowed",
        "alice",
        "3faf5c03-aaa1-4cbe-879d-24b05d997347",
        202,
        None,
        "alice's team runs this pool (pool-operators), and the job is finished and not protected",
    ),
    (
        "denied-by-a-guardrail",
        "alice",
        "71b8d6e4-2f35-4c9a-b0d7-e86a4f1c9235",
        403,
        Some("Lychgate.4031"),
        "the job is tagged env=prod (guardrails/protect), whatever else allows it",
    ),
    (
        "denied-while-running",
        "alice",
        "a94f0b17-6c2d-4e83-9f51-08d7b3e6c24a",
        403,
        Some("Lychgate.4031"),
        "the job is running (guardrails/finished)",
    ),
    (
        "denied-because-nothing-allows-it",
        "bob",
        "0c4e7a52-93d8-4b1f-8a06-5d2e9b7c1f40",
        403,
        Some("Lychgate.4033"),
        "neither bob's team's pool nor bob's own job",
    ),
    (
        "denied-without-a-look-up",
        "carol",
        "0c4e7a52-93d8-4b1f-8a06-5d2e9b7c1f40",
        403,
        Some("Lychgate.4033"),
        "nothing is attached to carol, so the job is not even looked up",
    ),
    (
        "break-glass",
        "dave",
        "1d95e7b4-0f8a-4263-b6cd-a72c3e9054f8",
        202,
        None,
        "platform-admins pass the guardrails; the ledger keeps it",
    ),
    (
        "unknown-job",
        "alice",
        "00000000-0000-4000-8000-000000000000",
        400,
        Some("ModelArts.2775"),
        "ModelArts knows no such job; only who might delete it is told so",
    ),
    (
        "within-the-budget",
        "erin",
        "e8d13f6b-7a90-4c25-b4e8-1f6c52a7d093",
        202,
        None,
        "erin has a budget of one delete an hour",
    ),
    (
        "over-budget",
        "erin",
        "5e02c9d8-41b7-4f6a-8c3e-97a1d0f4b658",
        429,
        Some("Lychgate.4292"),
        "the policies allow it, the budget does not; the answer says when there is room again",
    ),
    (
        "no-credential",
        NOBODY,
        "3faf5c03-aaa1-4cbe-879d-24b05d997347",
        401,
        Some("Lychgate.4011"),
        "a delete needs to say who asks",
    ),
];

/// A running demo, to be printed.
pub(super) struct Demo<'a> {
    gate: SocketAddr,
    admin: SocketAddr,
    emulator: &'a Emulator,
    secrets: &'a Secrets,
}

#[derive(Serialize)]
struct Document<'a> {
    gate: String,
    admin: String,
    emulator: String,
    project_id: &'a str,
    access_key: Key<'a>,
    cloud_key: Key<'a>,
    jobs: Vec<Job>,
    calls: Vec<Call>,
}

#[derive(Serialize)]
struct Key<'a> {
    ak: &'a str,
    sk: &'a str,
}

#[derive(Serialize)]
struct Job {
    id: String,
}

#[derive(Serialize)]
struct Call {
    name: &'static str,
    method: &'static str,
    url: String,
    headers: serde_json::Map<String, serde_json::Value>,
    expect: Expect,
    why: &'static str,
}

#[derive(Serialize)]
struct Expect {
    status: u16,
    error_code: Option<&'static str>,
}

impl<'a> Demo<'a> {
    pub(super) fn new(app: &App, emulator: &'a Emulator, secrets: &'a Secrets) -> Self {
        let gate = app.addresses().first().copied().unwrap_or_else(|| app.admin_address());
        Self { gate, admin: app.admin_address(), emulator, secrets }
    }

    pub(super) fn json(&self) -> String {
        let url = |it: SocketAddr| format!("http://{it}");
        let key = |it: &'a AccessKey| Key { ak: &it.ak, sk: &it.sk };
        let call = |row: &Row| {
            let (name, who, job, status, error_code, why) = *row;
            let headers = self.authorization(who).map(|it| ("Authorization".to_owned(), it.into()));
            Call {
                name,
                method: "DELETE",
                url: self.url(job),
                headers: headers.into_iter().collect(),
                expect: Expect { status, error_code },
                why,
            }
        };
        let document = Document {
            gate: url(self.gate),
            admin: url(self.admin),
            emulator: self.emulator.url(),
            project_id: PROJECT,
            access_key: key(&self.secrets.gateway_key),
            cloud_key: key(&self.secrets.cloud_key),
            jobs: self
                .emulator
                .jobs()
                .into_iter()
                .map(|it| Job { id: it.id().to_owned() })
                .collect(),
            calls: CALLS.iter().map(call).collect(),
        };
        // Strings and numbers always serialise.
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    }

    pub(super) fn human(&self, files: &Files) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, files);
        text
    }

    fn write(&self, out: &mut String, files: &Files) -> std::fmt::Result {
        let Self { gate, admin, emulator, secrets } = self;
        writeln!(out, "The gate listens on http://{gate}, admin on http://{admin}.")?;
        writeln!(out, "Behind it, on {}, an emulated ModelArts with sample jobs.", emulator.url())?;
        writeln!(out, "Policies, keys and the ledger are in {}", files.directory().display())?;
        writeln!(out, "until the demo ends.\n\nPaste into another terminal:\n")?;
        for (name, token) in &secrets.tokens {
            writeln!(out, "export {}='{token}'", name.to_uppercase())?;
        }
        for (name, who, job, status, error_code, why) in CALLS {
            let code = error_code.map(|it| format!(" {it}")).unwrap_or_default();
            writeln!(out, "\n# {name}: {status}{code} — {why}")?;
            write!(out, "curl -i -X DELETE {}", self.url(job))?;
            match *who {
                NOBODY => writeln!(out)?,
                who => writeln!(out, " -H \"Authorization: Bearer ${}\"", who.to_uppercase())?,
            }
        }
        let AccessKey { ak, sk } = &secrets.gateway_key;
        writeln!(out, "\nAn official SDK deletes through the gate, too, as `{KEY_PRINCIPAL}`:")?;
        writeln!(out, "endpoint http://{gate}, project {PROJECT},\nAK {ak}\nSK {sk}")?;
        writeln!(
            out,
            "\nSomebody deletes a job in the console, past the gate, and the trail tells:"
        )?;
        let (emulator, ledger) = (emulator.url(), files.directory().join("ledger"));
        let body = json!({"how": "console", "job": PAST_THE_GATE, "user": "mallory"});
        writeln!(out, "curl {emulator}/emulator/past-the-gate -d '{body}'")?;
        writeln!(out, "curl -o trail.json {emulator}/emulator/trail")?;
        write!(out, "lychgate audit reconcile --complete --lateness 0s --trail trail.json ")?;
        writeln!(out, "{}", ledger.display())?;
        writeln!(out, "\nDecisions appear below. Ctrl-C ends the demo.\n")
    }

    fn url(&self, job: &str) -> String {
        format!("http://{}/v2/{PROJECT}/training-jobs/{job}", self.gate)
    }

    fn authorization(&self, who: &str) -> Option<String> {
        let (_, token) = self.secrets.tokens.iter().find(|(name, _)| *name == who)?;
        Some(format!("Bearer {token}"))
    }
}
