//! attacks.md, row by row, as raw bytes at a whole gate whose policies allow everything: whatever
//! got through would delete. Numbers are those of the list.

use crate::support::http::{self, Connection};
use crate::support::world::{CLOUD_AK, FINISHED, GATEWAY_AK, PROJECT, World};

pub(crate) const ALLOW_ALL: &[(&str, &str)] = &[
    (
        "identity/all.json",
        r#"{"Version":"5.0","Statement":[{"Effect":"Allow","Action":["modelarts:trainJob:delete"]}]}"#,
    ),
    ("attachments.yaml", "- {to: [any], policies: [all]}\n"),
];

/// Replaces JOB and PROJECT, adds the credential.
pub(crate) struct Attack {
    pub(crate) number: u32,
    /// The request line.
    pub(crate) line: &'static str,
    /// Header lines beside `Host` and the credential.
    fields: &'static str,
    /// What follows the head.
    rest: &'static str,
    pub(crate) expected: (u16, &'static str),
}

const fn line(number: u32, line: &'static str, status: u16, code: &'static str) -> Attack {
    Attack { number, line, fields: "", rest: "", expected: (status, code) }
}

const fn field(number: u32, fields: &'static str, status: u16, code: &'static str) -> Attack {
    Attack { number, line: GOOD, fields, rest: "", expected: (status, code) }
}

const fn body(number: u32, fields: &'static str, rest: &'static str, code: &'static str) -> Attack {
    Attack { number, line: GOOD, fields, rest, expected: (400, code) }
}

const GOOD: &str = "DELETE /v2/PROJECT/training-jobs/JOB HTTP/1.1";

/// attacks 1–21, 36, 39, each by its number.
pub(crate) const ATTACKS: &[Attack] = &[
    line(1, "DELETE //v2/PROJECT/training-jobs/JOB HTTP/1.1", 400, "4001"),
    line(1, "DELETE /v2//PROJECT/training-jobs/JOB HTTP/1.1", 400, "4001"),
    line(2, "DELETE /v2/PROJECT/training-jobs/../JOB HTTP/1.1", 400, "4001"),
    line(2, "DELETE /v2/PROJECT/./training-jobs/JOB HTTP/1.1", 400, "4001"),
    line(2, "DELETE /v2/PROJECT/training-jobs/..;/JOB HTTP/1.1", 400, "4001"),
    line(3, "DELETE /v2/PROJECT/training-jobs/%2e%2e/JOB HTTP/1.1", 400, "4001"),
    line(3, "DELETE /v2/PROJECT%2Ftraining-jobs/JOB HTTP/1.1", 400, "4001"),
    line(3, "DELETE /v2/PROJECT%5Ctraining-jobs/JOB HTTP/1.1", 400, "4001"),
    line(3, "DELETE /v2/PROJECT\\training-jobs/JOB HTTP/1.1", 400, "4001"),
    line(3, "DELETE /v2/PROJECT/training-jobs/%252FJOB HTTP/1.1", 400, "4001"),
    line(4, "DELETE /v2/PROJECT/training-jobs/JOB%00 HTTP/1.1", 400, "4001"),
    line(4, "DELETE /v2/PROJECT/training-jobs/JOB%0d%0a HTTP/1.1", 400, "4001"),
    line(4, "DELETE /v2/PROJECT/training-jobs/JOB\u{1} HTTP/1.1", 400, "4001"),
    line(4, "DELETE /v2/PROJECT/training-jobs/ä HTTP/1.1", 400, "4001"),
    line(4, "DELETE /v2/PROJECT/training-jobs/%c0%af HTTP/1.1", 400, "4001"),
    line(5, "DELETE /v2/PROJECT/training-jobs/JOB/ HTTP/1.1", 404, "4041"),
    line(5, "DELETE /v2/PROJECT/training-jobs/JOB/x HTTP/1.1", 404, "4041"),
    line(5, "DELETE /v2/PROJECT/training-jobs/ HTTP/1.1", 404, "4041"),
    line(5, "DELETE /v2/PROJECT/training-jobs/job_1 HTTP/1.1", 400, "4005"),
    line(
        5,
        "DELETE /v2/PROJECT/training-jobs/3FAF5C03-AAA1-4CBE-879D-24B05D997347 HTTP/1.1",
        400,
        "4005",
    ),
    line(6, "DELETE /V2/PROJECT/training-jobs/JOB HTTP/1.1", 404, "4041"),
    line(6, "DELETE /v2/PROJECT/Training-Jobs/JOB HTTP/1.1", 404, "4041"),
    line(7, "DELETE http://other/v2/PROJECT/training-jobs/JOB HTTP/1.1", 400, "4001"),
    line(7, "DELETE other:443 HTTP/1.1", 400, "4001"),
    line(7, "DELETE * HTTP/1.1", 400, "4001"),
    line(8, "DELETE /v2/PROJECT/training-jobs/JOB#x HTTP/1.1", 400, "4001"),
    line(8, "DELETE /v2/PROJECT/training-jobs/JOB;a=b HTTP/1.1", 400, "4001"),
    line(9, "DELETE /v2/PROJECT/training-jobs/JOB%3Fa=b HTTP/1.1", 400, "4001"),
    line(9, "DELETE /v2/PROJECT/training-jobs/JOB?a=b HTTP/1.1", 400, "4002"),
    line(9, "DELETE /v2/PROJECT/training-jobs/JOB?a=b&a=c HTTP/1.1", 400, "4002"),
    line(9, "DELETE /v2/%7Bproject_id%7D/training-jobs/JOB HTTP/1.1", 400, "4003"),
    line(9, "DELETE /v2/pro_ject/training-jobs/JOB HTTP/1.1", 400, "4004"),
    line(10, "DELETE /v2/unserved/training-jobs/JOB HTTP/1.1", 404, "4042"),
    line(11, "GET /v2/PROJECT/training-jobs/JOB?a=b HTTP/1.1", 400, "4002"),
    line(11, "GET /v2/PROJECT/training-jobs HTTP/1.1", 404, "4041"),
    line(11, "POST /v2/PROJECT/training-jobs/JOB HTTP/1.1", 405, "4051"),
    line(11, "PUT /v2/PROJECT/training-jobs/JOB HTTP/1.1", 405, "4051"),
    line(11, "PATCH /v2/PROJECT/training-jobs/JOB HTTP/1.1", 405, "4051"),
    line(11, "OPTIONS /v2/PROJECT/training-jobs/JOB HTTP/1.1", 405, "4051"),
    line(11, "CONNECT gate:443 HTTP/1.1", 405, "4051"),
    line(11, "TRACE /v2/PROJECT/training-jobs/JOB HTTP/1.1", 405, "4051"),
    line(11, "POST /v2/PROJECT/training-jobs/batch-delete HTTP/1.1", 415, "4151"),
    line(11, "GET /v2/PROJECT/training-jobs/batch-delete HTTP/1.1", 405, "4052"),
    line(11, "DELETE /v2/PROJECT/training-jobs/batch-delete HTTP/1.1", 405, "4052"),
    line(12, "delete /v2/PROJECT/training-jobs/JOB HTTP/1.1", 400, "4006"),
    line(12, "DELETE\u{b} /v2/PROJECT/training-jobs/JOB HTTP/1.1", 400, "4006"),
    field(13, "X-HTTP-Method-Override: DELETE\r\nContent-Length: 1\r\n", 400, "4007"),
    body(14, "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", "4007"),
    body(15, "Content-Length: 0\r\nContent-Length: 4\r\n", "abcd", "4006"),
    body(15, "Content-Length: 0\r\nContent-Length: 0\r\n", "", "4006"),
    body(16, "Content-Length: +4\r\n", "abcd", "4006"),
    body(16, "Content-Length: 4,4\r\n", "abcd", "4006"),
    body(16, "Content-Length: 0x4\r\n", "abcd", "4006"),
    body(16, "Content-Length: -1\r\n", "", "4006"),
    body(16, "Content-Length: 18446744073709551616\r\n", "", "4007"),
    body(17, "Transfer-Encoding: chunked, identity\r\n", "", "4007"),
    body(17, "Transfer-Encoding: xchunked\r\n", "", "4007"),
    body(17, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "", "4007"),
    body(17, "Transfer-Encoding\t: chunked\r\n", "", "4006"),
    body(17, "A: b\r\n Transfer-Encoding: chunked\r\n", "", "4006"),
    body(18, "Content-Length: 4\r\n", "abcd", "4007"),
    body(18, "Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\n\r\n", "4007"),
    body(19, "A : b\r\n", "", "4006"),
    body(19, "A: b\0c\r\n", "", "4006"),
    body(19, "A: b\nB: c\r\n", "", "4006"),
    body(20, "Host: other\r\n", "", "4006"),
    line(21, "DELETE /v2/PROJECT/training-jobs/JOB HTTP/1.0", 505, "5051"),
    line(21, "DELETE /v2/PROJECT/training-jobs/JOB HTTP/1.2", 505, "5051"),
    line(41, "GET /livez HTTP/1.1", 404, "4041"),
    line(41, "GET /readyz HTTP/1.1", 404, "4041"),
    field(36, "X_Forwarded_User: root\r\n", 400, "4006"),
    field(39, "X-Auth-Token: also\r\n", 401, "4012"),
    field(39, "Authorization: Bearer again\r\n", 401, "4012"),
];

impl Attack {
    pub(crate) fn bytes(&self, credential: &str) -> Vec<u8> {
        let Self { line, fields, rest, .. } = self;
        let head = format!("{line}\r\nHost: gate\r\n{credential}{fields}\r\n{rest}");
        head.replace("PROJECT", PROJECT).replace("JOB", FINISHED).into_bytes()
    }
}

/// What every answer of the gate has, and no other header.
fn check_shape(number: u32, answer: &http::Answer) {
    const ALLOWED: &[&str] = &[
        "allow",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "retry-after",
        "www-authenticate",
        "x-lychgate-origin",
        "x-lychgate-request-id",
        "x-request-id",
    ];
    for (name, _) in &answer.headers {
        assert!(ALLOWED.contains(&name.as_str()), "{number}: {name}");
    }
    assert_eq!(answer.header("x-lychgate-origin"), Some("gateway"), "{number}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{number}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{number}");
    let has_challenge = answer.headers.iter().any(|(it, _)| it == "www-authenticate");
    assert_eq!(has_challenge, answer.status == 401, "{number}");
}

#[tokio::test]
async fn hostile_requests_are_answered_by_the_gate_and_reach_nothing() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let credential = format!("Authorization: Bearer {}\r\n", world.token("alice"));
    for attack in ATTACKS {
        let Attack { number, expected: (status, code), .. } = *attack;
        let answer = http::send(world.gate, &attack.bytes(&credential)).await;
        let said = (answer.status, answer.code());
        assert_eq!(said, (status, Some(format!("Lychgate.{code}"))), "{number}: {}", attack.line);
        check_shape(number, &answer);
    }
    assert_eq!(world.emulator.counts().all(), 0);
    assert!(world.records("decision").is_empty());
    // The same gate deletes when it is asked properly.
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
}

#[tokio::test]
async fn sizes_times_and_lines_have_limits() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let token = world.token("alice");
    let request = |target: &str, fields: &str| {
        format!(
            "DELETE {target} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n{fields}\r\n"
        )
    };
    let target = format!("/v2/{PROJECT}/training-jobs/{FINISHED}");
    let good = request(&target, "");
    for (number, request, status, code) in [
        (5, request(&format!("/{}", "a".repeat(2048)), ""), 414, "4141"),
        (11, format!("HEAD {target} HTTP/1.1\r\nHost: gate\r\n\r\n"), 405, ""),
        (12, format!("{} {target} HTTP/1.1\r\nHost: gate\r\n\r\n", "A".repeat(100)), 400, "4006"),
        (19, good.replace("\r\n", "\n"), 400, "4006"),
        (20, good.replace("Host: gate\r\n", ""), 400, "4006"),
        (20, good.replace("Host: gate", "Host: gate:0"), 400, "4006"),
        (20, good.replace("Host: gate", "Host: gate:70000"), 400, "4006"),
        (20, good.replace("Host: gate", "Host: user@gate"), 400, "4006"),
        (21, format!("DELETE {target}\r\n"), 505, "5051"),
        (22, request(&target, &"A: b\r\n".repeat(64)), 431, "4311"),
        (22, request(&target, &format!("A: {}\r\n", "b".repeat(17 << 10))), 431, "4311"),
        (22, request(&target, &format!("A: {}\r\n", "b".repeat(8000)).repeat(5)), 431, "4311"),
        (39, good.replace("Bearer", "Basic"), 401, "4013"),
        (39, good.replace("\r\n\r\n", ", Bearer x\r\n\r\n"), 401, "4013"),
        (39, good.replace("\r\n\r\n", " junk\r\n\r\n"), 401, "4013"),
    ] {
        let mut connection = Connection::open(world.gate).await;
        connection.write(request.as_bytes()).await;
        if code.is_empty() {
            // An answer to HEAD has a length and no body, which this client would wait for.
            assert!(connection.status_line().await.contains(" 405 "), "{number}");
            continue;
        }
        let answer = connection.answer().await.unwrap();
        let said = (answer.status, answer.code());
        assert_eq!(said, (status, Some(format!("Lychgate.{code}"))), "{number}: {request}");
        check_shape(number, &answer);
    }
    assert_eq!(world.emulator.counts().all(), 0);
}

/// attacks 13, 25, 33–35, 38, 41: what is odd but harmless changes nothing.
#[tokio::test]
async fn odd_headers_neither_help_nor_hinder() {
    for (number, fields) in [
        (13, "X-HTTP-Method-Override: GET\r\nX-Method-Override: GET\r\n_method: GET\r\n"),
        (25, "Expect: 100-continue\r\n"),
        (
            33,
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        ),
        (34, "Connection: Authorization\r\n"),
        (34, "Connection: Host, X-Anything\r\n"),
        (
            35,
            "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Original-URL: /\r\nX-Rewrite-URL: /\r\n",
        ),
        (38, "g:ResourceTag/env: dev\r\n"),
        (38, "modelarts-poolid: pool-a\r\n"),
        (41, "User-Agent: kube-probe/1.30\r\n"),
    ] {
        let world = World::builder().policies(ALLOW_ALL).start().await;
        let token = world.token("alice");
        let with = |credential: &str| {
            format!(
                "DELETE /v2/{PROJECT}/training-jobs/{FINISHED} HTTP/1.1\r\nHost: gate\r\n{credential}{fields}\r\n"
            )
        };
        let anonymous = http::send(world.gate, with("").as_bytes()).await;
        assert_eq!(anonymous.code().as_deref(), Some("Lychgate.4011"), "{number}");
        assert_eq!(world.emulator.counts().all(), 0, "{number}");
        let known = with(&format!("Authorization: Bearer {token}\r\n"));
        let answer = http::send(world.gate, known.as_bytes()).await;
        assert_eq!(answer.status, 202, "{number}");
    }
}

/// "A desync that hyper does not prevent": bytes of one request must not become a part of the next
/// caller's upstream request.
#[tokio::test]
async fn the_desync_stays_closed() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let token = world.token("alice");
    let smuggled = format!(
        "DELETE /v2/{PROJECT}/training-jobs/{FINISHED} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nDELETE /evil HTTP/1.1\r\n\r\n"
    );
    let mut connection = Connection::open(world.gate).await;
    connection.write(smuggled.as_bytes()).await;
    let answer = connection.answer().await.unwrap();
    assert_eq!(answer.code().as_deref(), Some("Lychgate.4007"));
    assert!(connection.answer().await.is_none(), "the connection is closed");
    assert_eq!(world.emulator.counts().all(), 0);

    // One connection to the cloud, two deletes: the second head follows the first without a byte
    // between them, and neither announces a body.
    for job in [FINISHED, "e8d13f6b-7a90-4c25-b4e8-1f6c52a7d093"] {
        assert_eq!(world.delete("alice", job).await.status, 202);
    }
    for request in world.emulator.requests() {
        assert!(request.raw.starts_with(b"DELETE /v2/"), "{:?}", request.raw);
        assert!(request.header("transfer-encoding").is_none());
        assert!(request.header("content-length").is_none_or(|it| it == "0"));
    }
}

/// attacks 37 and 84: neither the gate's cloud key nor the caller's key is anywhere it does not belong.
#[tokio::test]
async fn keys_stay_where_they_belong() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let answer = world.delete("alice", FINISHED).await;
    assert_eq!(answer.status, 202);
    let token = world.token("alice");
    let (_, signature) = token.rsplit_once('.').unwrap();
    world.outcomes(1).await;
    let ledger = serde_json::to_string(&world.ledger()).unwrap();
    for secret in ["cloudSecret", "gatewaySecret", CLOUD_AK, GATEWAY_AK, signature] {
        // The outcome names the key that signed, as the cloud's own audit trail does.
        assert!(secret == CLOUD_AK || !ledger.contains(secret), "{secret}");
        assert!(!format!("{answer:?}").contains(secret), "{secret}");
    }
    let sent = format!("{:?}", world.emulator.requests());
    for secret in ["cloudSecret", "gatewaySecret", GATEWAY_AK, signature] {
        assert!(!sent.contains(secret), "{secret}");
    }
}

/// attack 23
#[tokio::test]
async fn a_head_that_does_not_end_is_told_so() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let head = world.head("alice", FINISHED);
    let mut connection = Connection::open(world.gate).await;
    connection.write(&head.as_bytes()[..head.len() - 1]).await;
    let answer = connection.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (408, Some("Lychgate.4081")));
    check_shape(23, &answer);
    assert!(connection.answer().await.is_none(), "the connection is closed");
    assert_eq!(world.emulator.counts().all(), 0);
}

/// attack 24: each answer tells by its code which request it belongs to.
#[tokio::test]
async fn a_thousand_pipelined_requests_are_answered_in_order() {
    const REQUESTS: &[(&str, &str)] = &[
        ("DELETE /a", "Lychgate.4041"),
        ("DELETE //", "Lychgate.4001"),
        ("GET /v2/PROJECT/training-jobs/JOB", "Lychgate.4011"),
        ("PUT /v2/PROJECT/training-jobs/JOB", "Lychgate.4051"),
        ("DELETE /v2/PROJECT/training-jobs/JOB?a", "Lychgate.4002"),
        ("DELETE /v2/PROJECT/training-jobs/JOB", "Lychgate.4011"),
    ];
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let rows = || REQUESTS.iter().cycle().take(1000);
    let bytes: String =
        rows().map(|(line, _)| format!("{line} HTTP/1.1\r\nHost: gate\r\n\r\n")).collect();
    let bytes = bytes.replace("PROJECT", PROJECT).replace("JOB", FINISHED);
    let mut connection = Connection::open(world.gate).await;
    connection.write(bytes.as_bytes()).await;
    for (at, (line, code)) in rows().enumerate() {
        let answer = connection.answer().await.unwrap();
        assert_eq!(answer.code().as_deref(), Some(*code), "{at}: {line}");
    }
    assert_eq!(world.emulator.counts().all(), 0);
}
