//! `lychgate sign --explain`, run as somebody runs it whom the cloud has refused.

use crate::house::cli::{Ran, lychgate};
use crate::support::world::put;

use lychgate::clock::Clock;
use lychgate::secret::Secret;
use lychgate::sign;
use lychgate::sign::{Algorithm, Credential};
use serde_json::Value;
use std::fs::File;
use std::process::Command;
use tempfile::TempDir;

const SECRET: &str = "hunter2hunter2hunter2hunter2hunter2";
const TOKEN: &str = "TOKENhunter2TOKEN";

/// The raw head of a request that is signed as the gate signs.
fn signed(algorithm: &Algorithm) -> String {
    let secret = |it: &str| Secret::new(it.to_owned());
    let credential =
        Credential::new("AK1".to_owned(), secret(SECRET), Some(secret(TOKEN))).unwrap();
    let request = sign::Request {
        method: &http::Method::DELETE,
        target: "/v2/0a1b/training-jobs/1",
        host: "modelarts.example",
        project_id: "0a1b",
        user_agent: "test",
    };
    let now = "2026-01-15T12:00:00Z".parse().unwrap();
    let headers = sign::sign(&request, &credential, algorithm, now).unwrap();
    let mut head = "DELETE /v2/0a1b/training-jobs/1 HTTP/1.1\r\n".to_owned();
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    head + "\r\n"
}

struct Files(TempDir);

impl Files {
    fn new(request: &str) -> Self {
        let files = Self(TempDir::new().unwrap());
        files.put("request", request);
        files.put("key.yaml", &format!("ak: AK1\nsk: {SECRET}\nsecurity_token: {TOKEN}\n"));
        files
    }

    fn put(&self, name: &str, text: &str) {
        put(self.0.path(), name, text);
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn explain(&self, key: &str, more: &[&str]) -> Ran {
        let (request, key) = (self.path("request"), self.path(key));
        let arguments = ["sign", "--explain", "--request", &request, "--key", &key];
        let ran = lychgate(&[&arguments, more].concat());
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        ran
    }
}

#[test]
fn a_good_signature_is_the_same() {
    let derived = Algorithm::V11HmacSha256 {
        region: "cn-north-4".to_owned(),
        service: "modelarts".to_owned(),
    };
    for algorithm in [Algorithm::SdkHmacSha256, derived] {
        let files = Files::new(&signed(&algorithm));
        let ran = files.explain("key.yaml", &[]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("\n  | /v2/0a1b/training-jobs/1/\n"), "{}", ran.stdout);
        assert!(ran.stdout.contains("x-security-token:[redacted]"), "{}", ran.stdout);
        assert!(ran.stdout.ends_with("same: this is the signature that the key makes\n"));
    }
}

#[test]
fn what_differs_is_told_with_what_may_be_behind_it() {
    let good = signed(&Algorithm::SdkHmacSha256);
    for (request, part, text) in [
        (good.replace("Access=AK1", "Access=AK2"), "access key", "`AK2`"),
        (good.replace("SDK-HMAC-SHA256 ", "SDK-HMAC-SM3 "), "algorithm", "unknown"),
        (good.replace("content-type;", ""), "signature", "secret of the key file"),
        (good.replace("x-project-id: 0a1b\r\n", ""), "signed headers", "x-project-id"),
        (good.replace("x-project-id;", ""), "signed headers", "not signed"),
        (good.replace(TOKEN, "other"), "signed headers", "security token"),
        (good.replace("20260115T", "2026-01-15T"), "date", "X-Sdk-Date must look like"),
        (
            good.replace("modelarts.example", "modelarts.example:443"),
            "signature",
            "`host: modelarts.example`",
        ),
        (
            good.replace("application/json", "application/json;charset=UTF-8"),
            "signature",
            "`content-type: application/json`",
        ),
        (good.replace("DELETE ", "GET "), "signature", "method DELETE"),
    ] {
        let files = Files::new(&request);
        let ran = files.explain("key.yaml", &["--format", "json"]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, report["same"].as_bool()), (Some(1), Some(false)), "{report}");
        assert_eq!(report["difference"]["part"], part, "{report}");
        assert!(report["difference"].to_string().contains(text), "{report}");
        let ran = files.explain("key.yaml", &[]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stdout.contains(&format!("differs: {part}: ")), "{}", ran.stdout);
    }
}

#[test]
fn a_signature_can_be_pasted_beside_the_request() {
    let good = signed(&Algorithm::SdkHmacSha256);
    let line = good.split("\r\n").find(|it| it.starts_with("authorization")).unwrap().to_owned();
    let value = line.split_once(": ").unwrap().1;
    let bare = good.replace(&format!("{line}\r\n"), "");
    let files = Files::new(&bare.replace("\r\n", "\n"));
    let ran = files.explain("key.yaml", &[]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.ends_with("no Authorization to compare with\n"), "{}", ran.stdout);
    for pasted in [value.to_owned(), format!("Authorization: {value}")] {
        assert_eq!(files.explain("key.yaml", &["--authorization", &pasted]).code, Some(0));
    }
    assert_eq!(files.explain("key.yaml", &["--authorization", "Bearer x"]).code, Some(1));

    let output = Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .args(["sign", "--explain", "--request", "-", "--key", &files.path("key.yaml")])
        .stdin(File::open(files.path("request")).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The signature is right, and the request is refused nevertheless.
#[test]
fn what_a_verifier_may_refuse_besides_is_noted() {
    let files = Files::new(&signed(&Algorithm::SdkHmacSha256));
    let ran = files.explain("key.yaml", &[]);
    assert!(ran.stdout.contains("\nnote: X-Sdk-Date is "), "{}", ran.stdout);
    let now = sign::SdkDate::new(Clock::system().now());
    let now = now.as_str();
    let head = |project: &str| {
        format!(
            "DELETE /v2/0a1b/training-jobs/1 HTTP/1.1\nX-Sdk-Date: {now}\nX-Project-Id: {project}\n\n"
        )
    };
    for (project, notes) in
        [("0a1b", vec![]), ("ff", vec!["X-Project-Id is `ff`, and the path names `0a1b`"])]
    {
        let files = Files::new(&head(project));
        files.put("key.yaml", &format!("ak: AK1\nsk: {SECRET}\n"));
        let ran = files.explain("key.yaml", &["--format", "json"]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["notes"], serde_json::json!(notes), "{report}");
        assert_eq!((ran.code, &report["same"]), (Some(0), &Value::Null));
    }
}

/// What unmodified SDKs sent with gateway keys, and edited copies of it.
#[test]
fn requests_of_the_sdks_are_read_as_they_were_recorded() {
    let text = include_str!("../../data/sign/recorded.json");
    let recorded: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(!recorded.is_empty());
    for it in &recorded {
        let files = Files::new(it["request"].as_str().unwrap());
        let (ak, sk) = (it["ak"].as_str().unwrap(), it["sk"].as_str().unwrap());
        files.put("key.yaml", &format!("ak: '{ak}'\nsk: '{sk}'\n"));
        let ran = files.explain("key.yaml", &[]);
        let expected = if it["matches"].as_bool().unwrap() { 0 } else { 1 };
        assert_eq!(ran.code, Some(expected), "{}: {}{}", it["name"], ran.stdout, ran.stderr);
    }
}

#[test]
fn gateway_keys_are_found_by_the_id_that_signed() {
    let files = Files::new(
        "DELETE /v2/0a1b/training-jobs/1 HTTP/1.1\nHost: gate\nX-Sdk-Date: 20260115T120000Z\n\n",
    );
    let key = |ak: &str| format!("  - {{ak: {ak}, sk: {SECRET}, principal: {ak}}}\n");
    files.put("one.yaml", &format!("keys:\n{}", key("A")));
    files.put("two.yaml", &format!("keys:\n{}{}", key("A"), key("B")));
    assert_eq!(files.explain("one.yaml", &[]).code, Some(0));
    let ran = files.explain("two.yaml", &[]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("several keys"), "{}", ran.stderr);
    files.put("none.yaml", "keys: []\n");
    let ran = files.explain("none.yaml", &[]);
    assert!(ran.stderr.contains("none.yaml: it lists no key"), "{}", ran.stderr);
    let by = |ak: &str| {
        let signature = "0".repeat(64);
        format!("SDK-HMAC-SHA256 Access={ak}, SignedHeaders=host;x-sdk-date, Signature={signature}")
    };
    let ran = files.explain("two.yaml", &["--authorization", &by("B")]);
    assert!(ran.stdout.contains("differs: signature"), "{}{}", ran.stdout, ran.stderr);
    let ran = files.explain("two.yaml", &["--authorization", &by("C")]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("no key `C`"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_read_is_invalid() {
    for (request, message) in [
        ("", "line 1 of the request: write METHOD TARGET HTTP/1.1"),
        ("DELETE /\r\n\r\n", "line 1 of the request: write METHOD TARGET HTTP/1.1"),
        ("DELETE / HTTP/1.1\r\nHost\r\n\r\n", "line 2 of the request: write NAME: VALUE"),
        ("DELETE / HTTP/1.1\r\nA b: c\r\n\r\n", "line 2 of the request: the header is malformed"),
        ("DEL\u{e9}TE / HTTP/1.1\r\n\r\n", "method or target is malformed"),
    ] {
        let ran = Files::new(request).explain("key.yaml", &[]);
        assert_eq!(ran.code, Some(3), "{request:?}");
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
    let files = Files::new(&signed(&Algorithm::SdkHmacSha256));
    files.put("bad.yaml", &format!("secret: {SECRET}\n"));
    for (key, message) in [("bad.yaml", "neither a credential"), ("none", "cannot read it")] {
        let ran = files.explain(key, &[]);
        assert_eq!(ran.code, Some(3), "{key}");
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
    assert_eq!(lychgate(&["sign", "--request", "x", "--key", "y"]).code, Some(64));
}

#[test]
fn its_help_says_how_to_ask() {
    let help = lychgate(&["sign", "--help"]).stdout;
    for part in ["X-Sdk-Date: 20260115T120000Z", "--authorization", "last slash", "with 3 if"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
