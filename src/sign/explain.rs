//! Why a signature is not the expected one: the first part in which they differ, and for the
//! signature itself what would make it fit.

use super::authorization::canonical_request;
use super::{
    Authorization, CanonicalRequest, Credential, Error, PayloadHash, SdkDate, Signature,
    SigningKey, StringToSign, X_PROJECT_ID, X_SDK_DATE, X_SECURITY_TOKEN,
};

use http::header;
use http::request::Parts;

/// The headers that are signed where the request does not say which: those of the official Python SDK.
const USUAL: [&str; 6] =
    ["content-type", "host", "user-agent", X_PROJECT_ID, X_SDK_DATE, X_SECURITY_TOKEN];

/// How a request is signed, stage by stage, and where a signature that came with it departs.
#[derive(Debug)]
pub struct Explanation {
    /// `None` when the difference is one that leaves nothing to compute.
    pub stages: Option<Stages>,
    /// `None` when nothing differs, or there is nothing to compare with.
    pub difference: Option<Difference>,
}

/// Every stage of one signature. The security token is in none of them.
#[derive(Debug)]
pub struct Stages {
    /// The canonical request, its security token withheld.
    pub canonical_request: String,
    /// The string to sign.
    pub string_to_sign: String,
    /// The signature that the key makes of it.
    pub signature: Signature,
}

/// The first part in which the given signature is not the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which part.
    pub part: Part,
    /// What is wrong with it.
    pub message: String,
    /// What may be behind it.
    pub hints: Vec<String>,
}

/// The parts of a signature, in the order in which they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The algorithm's name.
    Algorithm,
    /// The form of the `Authorization` value.
    Form,
    /// The access key ID.
    AccessKey,
    /// `X-Sdk-Date`.
    Date,
    /// Which headers are signed, and whether they were sent.
    SignedHeaders,
    /// Same parts, another signature.
    Signature,
}

impl Part {
    /// The part's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Algorithm => "algorithm",
            Self::Form => "form",
            Self::AccessKey => "access key",
            Self::Date => "date",
            Self::SignedHeaders => "signed headers",
            Self::Signature => "signature",
        }
    }
}

impl Difference {
    fn new(part: Part, message: impl Into<String>) -> Self {
        Self { part, message: message.into(), hints: Vec::new() }
    }
}

/// Signs `head` and `body` with `credential`, and compares with `authorization` if there is one.
///
/// # Errors
/// When the request cannot be signed: a header is in it twice, or is not text.
pub fn explain(
    head: &Parts,
    body: &[u8],
    authorization: Option<&str>,
    credential: &Credential,
) -> Result<Explanation, Error> {
    let (given, form) = match authorization.map(Authorization::parse).transpose() {
        Ok(given) => (given, None),
        Err(error) => {
            let known = authorization.is_some_and(Authorization::is_signature);
            let part = if known { Part::Form } else { Part::Algorithm };
            (None, Some(Difference::new(part, error.to_string())))
        }
    };
    let usual = usual_headers(head);
    let list = given.as_ref().map_or(usual.as_str(), |it| it.signed_headers);
    let scope = given.as_ref().and_then(|it| it.scope);
    let date = date(head);
    let difference = form
        .or_else(|| access_key(given.as_ref()?, credential))
        .or_else(|| headers(list, head, credential))
        .or_else(|| day(scope, date.as_ref()));
    let sent = list.split(';').all(|it| head.headers.contains_key(it));
    let (Ok(date), true) = (date, sent) else {
        return Ok(Explanation { stages: None, difference });
    };
    let canonical = canonical_request(list, head, PayloadHash::of(body))?;
    let string_to_sign = StringToSign::new(&date, scope, &canonical);
    let signature = SigningKey::new(credential, scope)?.sign(&string_to_sign);
    let stages = Some(Stages {
        canonical_request: canonical.redacted(),
        string_to_sign: string_to_sign.to_string(),
        signature,
    });
    let difference = difference.or_else(|| {
        let given = given.as_ref().filter(|it| !signature.matches(&it.signature))?;
        let signed = Signed { head, body, date: &date, given, canonical: &canonical };
        Some(signed.difference(credential))
    });
    Ok(Explanation { stages, difference })
}

fn access_key(given: &Authorization<'_>, credential: &Credential) -> Option<Difference> {
    let (given, id) = (given.access_key_id(), credential.access_key_id());
    let message = format!("it is signed with `{given}`, and the key is `{id}`");
    (given != id).then(|| Difference::new(Part::AccessKey, message))
}

fn date(head: &Parts) -> Result<SdkDate, Difference> {
    let Some(value) = head.headers.get(X_SDK_DATE) else {
        return Err(Difference::new(Part::Date, "the request has no X-Sdk-Date"));
    };
    let date = value.to_str().map_err(|_| Error::Date).and_then(SdkDate::parse);
    date.map_err(|error| Difference::new(Part::Date, error.to_string()))
}

/// What is wrong with the date: it cannot be read, or is of another day than the derived key.
fn day(scope: Option<&str>, date: Result<&SdkDate, &Difference>) -> Option<Difference> {
    let date = match date {
        Ok(date) => date,
        Err(difference) => return Some(difference.clone()),
    };
    let day = scope?.split('/').next()?;
    let message = format!("the key is derived for {day}, and X-Sdk-Date is of {}", date.day());
    (day != date.day()).then(|| Difference::new(Part::Date, message))
}

/// What is wrong with the signed headers: one is missing, one is not signed, or the token is another.
fn headers(list: &str, head: &Parts, credential: &Credential) -> Option<Difference> {
    let wrong = |message: String| Some(Difference::new(Part::SignedHeaders, message));
    let signs = |name: &str| list.split(';').any(|it| it == name);
    if let Some(name) = list.split(';').find(|it| !it.is_empty() && !head.headers.contains_key(*it))
    {
        return wrong(format!("`{name}` is signed and was not sent: did a proxy take it out?"));
    }
    for name in [X_SDK_DATE, X_PROJECT_ID, X_SECURITY_TOKEN] {
        if head.headers.contains_key(name) && !signs(name) {
            return wrong(format!("`{name}` is sent and not signed"));
        }
    }
    let sent = head.headers.get(X_SECURITY_TOKEN).map(http::HeaderValue::as_bytes);
    let token = credential.security_token().map(|it| it.expose().as_bytes());
    match (sent, token) {
        (None, Some(_)) => wrong(
            "the key is temporary, and its security token is not sent (X-Security-Token)"
                .to_owned(),
        ),
        (Some(sent), Some(token)) if sent != token => {
            wrong("the security token that is sent is not the one of the key".to_owned())
        }
        // A key file without the token says nothing about it.
        _ => None,
    }
}

fn usual_headers(head: &Parts) -> String {
    let sent = USUAL.into_iter().filter(|it| head.headers.contains_key(*it));
    sent.collect::<Vec<_>>().join(";")
}

/// A request with a signature that does not fit.
struct Signed<'a> {
    head: &'a Parts,
    body: &'a [u8],
    date: &'a SdkDate,
    given: &'a Authorization<'a>,
    canonical: &'a CanonicalRequest,
}

impl Signed<'_> {
    /// Everything is as it should be but the signature: looks for what it would fit.
    fn difference(&self, credential: &Credential) -> Difference {
        let mut difference =
            Difference::new(Part::Signature, "same key, same headers, another signature");
        let fits = |text: &str, credential: &Credential| {
            let canonical = CanonicalRequest::of_text(text.to_owned());
            let string_to_sign = StringToSign::new(self.date, self.given.scope, &canonical);
            let key = SigningKey::new(credential, self.given.scope);
            key.is_ok_and(|it| it.sign(&string_to_sign).matches(&self.given.signature))
        };
        for (what, text) in self.variants() {
            if fits(&text, credential) {
                difference.hints.push(format!("it is the signature of this request {what}"));
                return difference;
            }
        }
        let text = self.canonical.to_string();
        for (what, variant) in credential.misread() {
            if fits(&text, &variant) {
                difference.hints.push(format!("it is made with this secret {what}"));
                return difference;
            }
        }
        difference.hints = self.hints();
        difference
    }

    /// Canonical requests that clients and proxies are known to make of this one.
    fn variants(&self) -> Vec<(String, String)> {
        let text = self.canonical.to_string();
        let lines: Vec<&str> = text.split('\n').collect();
        let with = |at: usize, line: &str| {
            let replaced = |(index, it)| if index == at { line } else { it };
            lines.iter().copied().enumerate().map(replaced).collect::<Vec<_>>().join("\n")
        };
        let mut variants = Vec::new();
        let target = self.head.uri.path_and_query();
        let path = self.head.uri.path();
        let mut add = |what: String, text: String| variants.push((what, text));
        if let Some(bare) = lines.get(PATH).and_then(|it| it.strip_suffix('/')) {
            add("with a canonical URI that does not end in `/`".to_owned(), with(PATH, bare));
        }
        add("with the path as it was sent".to_owned(), with(PATH, path));
        add("with a `/` at the end of the path".to_owned(), with(PATH, &format!("{path}/")));
        if let Some(query) = target.and_then(http::uri::PathAndQuery::query) {
            add("with the query as it was sent, unsorted".to_owned(), with(QUERY, query));
            add("without its query".to_owned(), with(QUERY, ""));
        }
        for method in ["GET", "POST", "PUT", "DELETE", "delete"] {
            add(format!("with the method {method}"), with(METHOD, method));
        }
        let last = lines.len().saturating_sub(1);
        for (what, hash) in [
            ("without its body", PayloadHash::empty()),
            ("with its body, and not what X-Sdk-Content-Sha256 says", PayloadHash::of(self.body)),
            ("with the body `{}`", PayloadHash::of(b"{}")),
            ("with the body `\"\"`", PayloadHash::of(b"\"\"")),
            ("with the body `null`", PayloadHash::of(b"null")),
            ("with UNSIGNED-PAYLOAD in place of the hash of its body", PayloadHash::unsigned()),
        ] {
            add(what.to_owned(), with(last, &hash.to_string()));
        }
        for (at, line) in lines.iter().enumerate() {
            let Some((name, value)) = line.split_once(':') else { continue };
            for value in others(name, value) {
                add(format!("with `{name}: {value}`"), with(at, &format!("{name}:{value}")));
            }
        }
        variants
    }

    /// What is worth looking at when nothing known fits.
    fn hints(&self) -> Vec<String> {
        let value = |name| self.head.headers.get(name).and_then(|it| it.to_str().ok());
        let mut hints =
            vec!["the secret of the key file may not be the one it was made with".to_owned()];
        if let Some(host) = value(header::HOST).filter(|_| self.given.signs("host")) {
            hints.push(format!(
                "`host` is signed: if a proxy is between them, the client may have signed another name or port than `{host}`"
            ));
        }
        for name in [header::CONTENT_TYPE, header::USER_AGENT] {
            if self.given.signs(name.as_str()) {
                hints.push(format!("`{name}` is signed: something on the way may have changed it"));
            }
        }
        if self.head.uri.path().contains('%') {
            hints.push("the path has percent escapes, which not all SDKs sign alike".to_owned());
        }
        hints.push("X-Sdk-Date may have been taken from another attempt".to_owned());
        hints
    }
}

/// Places of the lines of a canonical request.
const METHOD: usize = 0;
const PATH: usize = 1;
const QUERY: usize = 2;

/// Values that the signer may have seen in place of what arrived.
fn others(name: &str, value: &str) -> Vec<String> {
    let all: &[&str] = match name {
        "content-type" => &[
            "application/json",
            "application/json;charset=UTF-8",
            "application/json; charset=utf-8",
            "application/json;charset=utf8",
            "",
        ],
        "host" => return hosts(value),
        _ => &[],
    };
    all.iter().filter(|it| **it != value).map(|it| (*it).to_owned()).collect()
}

fn hosts(value: &str) -> Vec<String> {
    let bare = value.rsplit_once(':').map_or(value, |(bare, _)| bare);
    let mut hosts = vec![bare.to_owned(), format!("{bare}:443"), format!("{bare}:80")];
    hosts.extend(["localhost", "127.0.0.1"].map(str::to_owned));
    hosts.push(value.to_ascii_lowercase());
    hosts.retain(|it| it != value);
    hosts
}

#[cfg(test)]
mod tests;
