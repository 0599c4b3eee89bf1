//! `lychgate lockdown`: the cloud policy that makes the gate the only way to delete.

use super::Exit;
use crate::reconcile;

use clap::ValueEnum;
use serde_json::{Value, json};

/// The longest service control policy, in characters (Organizations user guide, SCP constraints).
const SCP_CHARS_MAX: usize = 5120;

/// Prints a cloud policy that denies every call that deletes a training job to everybody but the
/// gate.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The exception: the gate's URN, such as iam::ACCOUNT:user:lychgate or
    /// `sts::ACCOUNT:assumed-agency:lychgate/*`; may be repeated.
    #[arg(long, required = true, value_name = "URN", value_parser = principal)]
    principal: Vec<String>,
    /// As a service control policy or as an identity policy.
    #[arg(long, value_enum, default_value_t = Kind::Scp)]
    format: Kind,
    /// Also deny the calls that change a job's tags or end its run.
    #[arg(long)]
    tags: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Of an organisation, for accounts and their users.
    Scp,
    /// Of an account, for the users and groups that it is attached to.
    Identity,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { principal, format, tags } = arguments;
    let mut statement = json!({
        "Sid": "OnlyTheGateDeletes",
        "Effect": "Deny",
        "Action": reconcile::actions(*tags),
        "Condition": {"StringNotMatch": {"g:PrincipalUrn": principal}},
    });
    if *format == Kind::Scp
        && let Value::Object(members) = &mut statement
    {
        members.insert("Resource".to_owned(), json!(["*"]));
    }
    let policy = json!({"Version": "5.0", "Statement": [statement]});
    // The limit counts white space too.
    if *format == Kind::Scp && SCP_CHARS_MAX < format!("{policy:#}").chars().count() {
        super::tell(&format!(
            "error: longer than the {SCP_CHARS_MAX} characters of a service control policy: name \
             fewer principals, or one with `*`\n"
        ));
        return Exit::Invalid;
    }
    super::print_json(&policy, Exit::Ok)
}

/// A URN of one principal: a wider one would take the lock away.
fn principal(text: &str) -> Result<String, String> {
    let error = || {
        "not the URN of one principal: write iam::ACCOUNT:user:NAME, \
         sts::ACCOUNT:assumed-agency:AGENCY/* or sts::ACCOUNT:external-user:PROVIDER/NAME"
            .to_owned()
    };
    let parts: Vec<_> = text.splitn(5, ':').collect();
    let [service, "", account, kind, name] = parts[..] else { return Err(error()) };
    let stem = name.strip_suffix("/*").unwrap_or(name);
    let fits = match (service, kind) {
        ("iam", "user") => name == stem,
        ("sts", "assumed-agency") => name.contains('/'),
        // Everything of a provider would be all users that it knows.
        ("sts", "external-user") => stem.contains('/'),
        _ => false,
    };
    let is_plain = |it: &str| !it.is_empty() && !it.contains(['*', '?', '$']);
    if fits && is_plain(account) && is_plain(stem) { Ok(text.to_owned()) } else { Err(error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_one() {
        for (text, expected) in [
            ("iam::123:user:lychgate", true),
            ("sts::123:assumed-agency:lychgate/*", true),
            ("sts::123:assumed-agency:lychgate/session", true),
            ("sts::123:external-user:corp/lychgate", true),
            ("sts::123:external-user:corp/*", false),
            ("sts::123:external-user:corp", false),
            ("iam::123:user:*", false),
            ("iam::123:user:", false),
            ("iam::123:user:a/*", false),
            ("iam::*:user:lychgate", false),
            ("iam:::user:lychgate", false),
            ("sts::123:assumed-agency:lychgate*", false),
            ("sts::123:assumed-agency:lychgate", false),
            ("sts::123:assumed-agency:/*", false),
            ("sts::123:assumed-agency:*/*", false),
            ("iam::123:agency:lychgate", false),
            ("iam::123:user:${g:UserName}", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(principal(text).is_ok(), expected, "{text}");
        }
    }
}
