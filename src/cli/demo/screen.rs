//! The demo's first screen: the jobs, calls to try, and what to do next. It fits into 40 lines of
//! 100 columns.

use super::call::{CALLS, Demo, NOBODY, PAST_THE_GATE, name_of};
use super::setup::{AccessKey, Files, people};
use crate::cli::audit::text;
use crate::cli::paint::Paint;
use crate::emulator::Job;
use crate::emulator::sample::PROJECT;

use std::fmt::{self, Write};

/// The file to source, in the demo's directory.
pub(super) const SHELL: &str = "demo.sh";

impl Demo<'_> {
    /// The whole screen.
    pub(super) fn human(&self, files: &Files, own_policies: bool, paint: Paint) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, files, own_policies, paint);
        text
    }

    fn write(
        &self,
        out: &mut String,
        files: &Files,
        own_policies: bool,
        paint: Paint,
    ) -> fmt::Result {
        let heads = ["JOB", "POOL", "OWNER", "PHASE", "TAGS"];
        let mut jobs: Vec<_> = self.emulator.jobs().iter().map(cells).collect();
        jobs.sort();
        let table = text::table(&heads, &jobs);
        writeln!(out, "A gate on http://{}, and behind it an emulated ModelArts with", self.gate)?;
        writeln!(out, "{}", table.replacen("JOB", &paint.head("JOB"), 1))?;
        let shell = files.directory().join(SHELL);
        let source = format!(". {}", shell.display());
        writeln!(out, "In another terminal, to have `del WHO JOB`:  {}\n", paint.head(&source))?;
        for call in CALLS.iter().filter(|_| !own_policies) {
            let name = self.name(call.job);
            let who = if call.who == NOBODY { "nobody" } else { call.who };
            let status = call.status.to_string();
            let status =
                if call.status < 300 { paint.good(&status) } else { paint.unsure(&status) };
            writeln!(out, "  del {who:<7} {name:<24}  {status}  {}", call.why)?;
        }
        if own_policies {
            writeln!(
                out,
                "  del WHO JOB      as alice, bob, carol, dave or erin of source corp, by your policies"
            )?;
        }
        let hints = [
            ("lychgate audit show \"$DEMO/ledger\"", "who deleted what, and by which statement"),
            ("why alice nlp-eval-lost", "what each statement says; nothing is deleted"),
            (
                "$EDITOR $POLICIES/guardrails/protect.json",
                "an edit takes effect at once: delete again",
            ),
            ("bypass", "somebody deletes past the gate; the trail shows it"),
            ("$AK and $SK, $PROJECT, $GATE", "for an official SDK, which is then `keys/cleanup`"),
        ];
        writeln!(out, "\nThen:")?;
        for (what, means) in hints {
            writeln!(out, "  {what:<42} {means}")?;
        }
        writeln!(out)?;
        writeln!(out, "Decisions appear below. Ctrl-C ends the demo and removes its files.\n")
    }

    /// The shell functions and variables that the screen's commands use.
    pub(super) fn shell(&self, files: &Files) -> String {
        let mut text = String::new();
        let _ = self.write_shell(&mut text, files);
        text
    }

    fn write_shell(&self, out: &mut String, files: &Files) -> fmt::Result {
        let AccessKey { ak, sk } = &self.secrets.gateway_key;
        let program = std::env::current_exe().unwrap_or_else(|_| "lychgate".into());
        let directory = files.directory().display();
        writeln!(out, "# For sh and shells like it: tokens of the demo's people, and shortcuts.")?;
        writeln!(out, "DEMO='{directory}'\nPOLICIES='{}'", files.policies().display())?;
        writeln!(
            out,
            "GATE='http://{}'\nADMIN='http://{}'\nPROJECT='{PROJECT}'",
            self.gate, self.admin
        )?;
        writeln!(out, "AK='{ak}'\nSK='{sk}'")?;
        for (name, token) in &self.secrets.tokens {
            writeln!(out, "{}='{token}'", name.to_uppercase())?;
        }
        writeln!(out, "job() {{ case \"$1\" in")?;
        for job in self.emulator.jobs() {
            writeln!(out, "  {}) echo {} ;;", name_of(&job), job.id())?;
        }
        writeln!(
            out,
            "  *-*-*-*-*) echo \"$1\" ;;\n  *) echo 00000000-0000-4000-8000-000000000000 ;;\nesac; }}"
        )?;
        writeln!(out, "token() {{ case \"$1\" in")?;
        for (name, _) in &self.secrets.tokens {
            writeln!(out, "  {name}) echo \"${}\" ;;", name.to_uppercase())?;
        }
        writeln!(out, "esac; }}")?;
        out.write_str(
            r#"del() {
  set -- "$(token "$1")" "$(job "$2")"
  curl -sS -w ' %{http_code}\n' ${1:+-H "Authorization: Bearer $1"} \
    -X DELETE "$GATE/v2/$PROJECT/training-jobs/$2"
}
why() {
  lychgate explain --config "$DEMO/lychgate.yaml" --project "$PROJECT" --as "corp/$1" \
    --job "$(job "$2")" $(claims "$1")
}
"#,
        )?;
        writeln!(out, "EMULATOR='{}'\nPAST='{PAST_THE_GATE}'", self.emulator.url())?;
        out.write_str(
            r#"bypass() {
  curl -sS "$EMULATOR/emulator/past-the-gate" \
    -d "{\"how\": \"console\", \"job\": \"$PAST\", \"user\": \"mallory\"}"
  curl -sS -o "$DEMO/trail.json" "$EMULATOR/emulator/trail"
  lychgate audit reconcile --complete --lateness 0s --trail "$DEMO/trail.json" "$DEMO/ledger"
}
"#,
        )?;
        writeln!(out, "claims() {{ case \"$1\" in")?;
        for (name, claims) in people() {
            writeln!(out, "  {name}) echo '{claims}' ;;")?;
        }
        writeln!(out, "esac; }}")?;
        writeln!(out, "lychgate() {{ '{}' \"$@\"; }}", program.display())
    }

    /// The job's name, for a table or a shell.
    pub(super) fn name(&self, id: &str) -> String {
        let jobs = self.emulator.jobs();
        jobs.iter().find(|it| it.id() == id).map_or_else(|| "no-such-job".to_owned(), name_of)
    }
}

fn cells(job: &Job) -> Vec<String> {
    let text = |pointer: &str| job.at(pointer).as_str().unwrap_or_default().to_owned();
    let mut pools = Vec::new();
    if let Some(tasks) = job.at("/tasks").as_array() {
        let pool = |it: &serde_json::Value| {
            it.pointer("/task_resource/pool_id").and_then(|it| it.as_str().map(str::to_owned))
        };
        pools.extend(tasks.iter().map(|it| pool(it).unwrap_or_else(|| "public".to_owned())));
    } else {
        let named = [text("/spec/resource/pool_id"), text("/spec/resource/pool_group_id")];
        pools.extend(named.into_iter().find(|it| !it.is_empty()));
    }
    let pools = if pools.is_empty() { "public".to_owned() } else { pools.join(" ") };
    let tags: Vec<_> = job.tags.iter().map(|it| format!("{}={}", it.key, it.value)).collect();
    vec![name_of(job), pools, text("/metadata/user_name"), job.phase().to_owned(), tags.join(" ")]
}
