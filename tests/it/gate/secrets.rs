//! Every secret in play is searched for in everything that the real binary puts out, at its most
//! talkative.

use crate::front::attacks::ALLOW_ALL;
use crate::support::collector::{Collector, Mood};
use crate::support::http::{self, Answer};
use crate::support::world::{
    AUDIENCE, CLOUD_AK, CLOUD_SK, FINISHED, GATEWAY_AK, GATEWAY_SK, ISSUER, PROJECT, World,
};

use ::http::Method;
use lychgate::clock::Clock;
use lychgate::emulator::{Effect, Fault};
use lychgate::secret::Secret;
use lychgate::sign;
use lychgate::sign::{Algorithm, Credential};
use serde_json::json;
use std::fs;

const SECURITY_TOKEN: &str = "securityToken000000000000000000000000000A";

/// A password that somebody took for a credential.
const BASIC: &str = "Basic c29tZWJvZHk6cGFzc3dvcmQ=";

/// The header fields of a request that an SDK signed with a gateway key.
fn signed(secret: &str) -> String {
    let request = sign::Request {
        method: &Method::DELETE,
        target: &format!("/v2/{PROJECT}/training-jobs/{FINISHED}"),
        host: "gate",
        project_id: PROJECT,
        user_agent: "sdk",
    };
    let credential =
        Credential::new(GATEWAY_AK.to_owned(), Secret::new(secret.to_owned()), None).unwrap();
    let headers =
        sign::sign(&request, &credential, &Algorithm::SdkHmacSha256, Clock::system().now())
            .unwrap();
    let lines = headers.iter().filter(|(name, _)| *name != "host");
    lines.map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect()
}

fn signature(fields: &str) -> String {
    fields.split_once("Signature=").unwrap().1.chars().take(64).collect()
}

async fn delete(world: &World, fields: &str) -> Answer {
    let head = format!(
        "DELETE /v2/{PROJECT}/training-jobs/{FINISHED} HTTP/1.1\r\nHost: gate\r\n{fields}\r\n"
    );
    http::send(world.gate, head.as_bytes()).await
}

fn text(answer: &Answer) -> String {
    format!("{:?}\n{}\n", answer.headers, String::from_utf8_lossy(&answer.body))
}

async fn world(collector: &Collector) -> World {
    let credential = format!("ak: {CLOUD_AK}\nsk: {CLOUD_SK}\nsecurity_token: {SECURITY_TOKEN}\n");
    let address = collector.address;
    World::builder()
        .policies(ALLOW_ALL)
        .file("temporary.yaml", &credential)
        .config("cloud.yaml", "temporary.yaml")
        .emulator(|it| {
            it.terminating_look_ups = u32::MAX;
            it.keys[0].security_token = Some(SECURITY_TOKEN.to_owned());
        })
        .config("{log: human}", &format!("{{log: human, level: trace, otlp: 'http://{address}'}}"))
        .binary("")
        .start()
        .await
}

/// attack 84
#[tokio::test]
async fn no_output_has_a_secret() {
    let collector = Collector::http(Mood::Well).await;
    let world = world(&collector).await;
    let token = world.token("alice");
    let expired = world.sign(&json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": Clock::system().now().as_second() - 3600,
    }));
    let (known, unknown) =
        (signed(GATEWAY_SK), signed("anotherSecret000000000000000000000000000A"));
    let mut answers = Vec::new();
    for (fields, code) in [
        (format!("Authorization: Bearer {token}\r\n"), None),
        (format!("X-Auth-Token: {token}\r\n"), None),
        (format!("Authorization: Bearer {token}\r\nX-Auth-Token: {token}\r\n"), Some("4012")),
        (format!("Authorization: Bearer {token}x\r\n"), Some("4013")),
        (format!("Authorization: Bearer {expired}\r\n"), Some("4014")),
        (format!("Authorization: {BASIC}\r\n"), Some("4013")),
        (known.clone(), None),
        (unknown.clone(), Some("4018")),
        (format!("{known}X-Auth-Token: {token}\r\n"), Some("4012")),
    ] {
        let answer = delete(&world, &fields).await;
        let expected = code.map(|it| format!("Lychgate.{it}"));
        assert_eq!(answer.code(), expected, "{fields}");
        answers.push(answer);
    }
    for effect in [Effect::Internal, Effect::PermissionRefused, Effect::Html, Effect::KeyRefused] {
        world.emulator.fault(Fault::new(effect).times(1));
        answers.push(delete(&world, &known).await);
    }
    world.outcomes(7).await;
    let spans = collector.wait().await;

    let mut secrets: Vec<String> =
        [CLOUD_SK, GATEWAY_SK, SECURITY_TOKEN, &BASIC[6..], &token, &expired]
            .map(str::to_owned)
            .into();
    for token in [&token, &expired] {
        secrets.extend(token.split('.').skip(1).map(str::to_owned));
    }
    secrets.extend([signature(&known), signature(&unknown)]);
    for request in world.emulator.requests() {
        secrets.push(signature(request.header("authorization").unwrap()));
    }
    let ledger: String = fs::read_dir(world.directory.path().join("ledger"))
        .unwrap()
        .map(|it| String::from_utf8(fs::read(it.unwrap().path()).unwrap()).unwrap())
        .collect();
    let outputs = [
        ("streams", world.process().output(), "corp/alice"),
        ("ledger", ledger, "corp/alice"),
        ("spans", format!("{spans:?}"), "corp/alice"),
        ("metrics", world.metrics().await, "lychgate_requests_total"),
        ("answers", answers.iter().map(text).collect(), "Lychgate.4018"),
    ];
    for (name, text, shown) in outputs {
        assert!(text.contains(shown), "{name} has not what it should have: {text}");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in {name}");
        }
    }
}
