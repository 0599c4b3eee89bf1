//! Cases beside the configuration of the gate: whoever asks and whatever is asked for must be possible
//! there, or a case that passes says nothing.

use super::written::{self, Stated};
use crate::policy::compile::Beside;
use crate::policy::language::diagnostic::Code;
use crate::policy::language::key::Key;
use crate::policy::language::yaml;
use crate::policy::{JobFact, Method};

/// Looks at one case.
pub(super) fn case(case: &written::Case, beside: &mut Beside<'_, '_>) {
    let written::Case { principal, request, job, .. } = case;
    let who = yaml::span(&principal.source);
    let source = &principal.source.value;
    beside.holds(&Key::UserId, &format!("{source}/{}", principal.name.value), who);
    for group in &principal.groups {
        beside.holds(&Key::Groups, &format!("{source}/{group}"), who);
    }
    for (tag, _) in &principal.tags.0 {
        beside.tag(&Key::PrincipalTag(tag.value.clone()), yaml::span(tag));
    }
    method(principal, beside);
    let stated = [
        (Key::ProjectId, Some(&request.project)),
        (Key::RequestedRegion, Some(&request.region)),
        (Key::PrincipalAccount, request.account.as_ref()),
    ];
    for (key, text) in stated.iter().filter_map(|(key, it)| Some((key, (*it)?))) {
        beside.holds(key, &text.value, yaml::span(text));
    }
    if let Some(Stated::Texts(them)) = job.stated.get(&JobFact::PoolType) {
        for it in &them.value {
            beside.holds(&Key::Job(JobFact::PoolType), it, yaml::span(them));
        }
    }
}

/// Whoever comes from a source signs in as its callers do.
fn method(principal: &written::Principal, beside: &mut Beside<'_, '_>) {
    let gate = beside.setup.gate.as_ref();
    let Some(source) = gate.and_then(|it| it.sources.get(&principal.source.value)) else { return };
    let written = principal.method.as_ref();
    let (named, own) = (written.map_or(Method::Jwt.as_str(), |it| &it.value), source.method);
    if named != own.as_str() {
        let name = &principal.source.value;
        let message = format!("callers of `{name}` do not sign in by `{named}`");
        let hint = format!("write `method: {}`", own.as_str());
        let at = written.unwrap_or(&principal.source);
        beside.findings.hint(Code::NotConfigured, yaml::span(at), message, hint);
    }
}
