//! The configuration file: the example is complete and loads, and every mistake is told where it is.

use lychgate::client::Roots;
use lychgate::config::{Complaint, Config, Role};

use std::path::Path;

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("lychgate.example.yaml");
    std::fs::read_to_string(path).unwrap()
}

fn forwarder() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("lychgate.forwarder.example.yaml");
    std::fs::read_to_string(path).unwrap()
}

fn complaints(text: &str) -> Vec<String> {
    let complaints = Config::parse(text, Path::new("/etc/lychgate")).err().unwrap_or_default();
    let told = |it: &Complaint| {
        let hint = it.hint.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
        format!("{}:{}: {}{hint}", it.line, it.column, it.message)
    };
    complaints.iter().map(told).collect()
}

#[test]
fn the_example_loads() {
    let config = Config::parse(&example(), Path::new("/etc/lychgate")).unwrap();
    assert_eq!(config.listen.len(), 4);
    let gate = config.gate().unwrap();
    assert_eq!(gate.policies, Path::new("/etc/lychgate/policies"));
    assert_eq!(gate.upstreams[0].config.projects, ["0a1b*"]);
}

#[test]
fn the_example_of_a_forwarder_loads() {
    let config = Config::parse(&forwarder(), Path::new("/etc/lychgate")).unwrap();
    assert!(config.gate().is_none());
    let Role::Forwarder(forwarder) = config.role else { panic!("a forwarder") };
    assert_eq!(forwarder.gate.projects, ["*"]);
    assert_eq!(forwarder.token, Path::new("/var/run/secrets/lychgate/token"));
    assert_eq!(forwarder.roots, Roots::File("/etc/lychgate/tls/central-ca.pem".into()));
}

/// A setting that is missing in the example is not known to its readers.
#[test]
fn the_example_names_every_setting() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/file.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let example = example();
    let mut count = 0;
    for line in source.lines() {
        let Some(field) = line.trim().strip_prefix("pub(super) ") else { continue };
        let Some((name, _)) = field.split_once(": ") else { continue };
        count += 1;
        let name = name.trim_start_matches("r#");
        assert!(example.contains(&format!("{name}:")), "`{name}` is not in the example");
    }
    assert!(count > 40, "the fields were not found: {count}");
}

/// Replaces `from` by `to` in the example; each complaint stands at a text and says something.
#[track_caller]
fn check(from: &str, to: &str, expected: &[(&str, &str)]) {
    check_in(&example(), from, to, expected);
}

#[track_caller]
fn check_in(text: &str, from: &str, to: &str, expected: &[(&str, &str)]) {
    assert!(text.contains(from), "{from}");
    let text = text.replacen(from, to, 1);
    let expected: Vec<_> = expected
        .iter()
        .map(|(place, message)| {
            let before = &text[..text.find(place).unwrap()];
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |it| it + 1) + 1;
            format!("{line}:{column}: {message}")
        })
        .collect();
    assert_eq!(complaints(&text), expected, "{to}");
}

#[test]
fn a_mistake_is_told_where_it_is() {
    let outside = |it: &str| {
        format!(
            "`{it}` is reachable from outside: give it `tls: {{certificate: …, key: …}}`, or write `tls: off` if something in front of it does TLS"
        )
    };
    let fixed = "a fixed principal is for loopback addresses and Unix sockets only: everybody who reaches this address would be that principal";
    let project =
        "a project must be 1 to 64 letters, digits and hyphens, with at most one `*`, at the end";
    check(
        "address: 127.0.0.1:8481",
        "address: localhost:8481",
        &[("localhost:8481", "`localhost:8481` is not an address: write it as `127.0.0.1:8480`")],
    );
    check("    tls: off\n", "", &[("0.0.0.0:8480", &outside("0.0.0.0:8480"))]);
    check(
        "127.0.0.1:8482",
        "10.0.0.1:8482",
        &[("10.0.0.1:8482", &outside("10.0.0.1:8482")), ("name: cleanup", fixed)],
    );
    check(
        "[10.0.0.0/8]",
        "[10.0.0.1/8, x]",
        &[
            ("10.0.0.1/8", "`10.0.0.1/8` has host bits set: write `10.0.0.0/8`"),
            ("x]", "`x` is neither an address nor a network"),
        ],
    );
    check(
        "in_flight: 512",
        "in_flight: 0",
        &[("0\n  # Requests per", "`in_flight` must be at least 1")],
    );

    check(
        "https://modelarts.cn",
        "http://modelarts.cn",
        &[("http://modelarts.cn", "use https; http is for loopback addresses only")],
    );
    check(
        "['0a1b*']",
        "['0a*b', '', y, y]",
        &[("'0a*b'", project), ("'', y", project), ("y]", "`y` is claimed twice")],
    );
    check(
        "[RS256, ES256, EdDSA]",
        "[RS256, none]",
        &[(
            "none]",
            "`none` is not an algorithm that is known here: use RS256, PS256, ES256, EdDSA or the like",
        )],
    );
    check(
        "max_lifetime: 24h",
        "max_lifetime: 0h",
        &[("0h", "`max_lifetime` must be more than zero")],
    );
    check(
        "file: secrets/jwks.json",
        "file: a\n        discovery: true",
        &[("file: a\n", "write exactly one of `discovery: true`, `file` and `url`")],
    );
    check("ratio: 1.0", "ratio: 2", &[("2\n  # The most traces", "a share must be 0 to 1")]);
}

#[test]
fn numbers_and_ports_have_an_end() {
    let most = "a whole number from 0 to 4294967295 is needed here";
    for setting in ["in_flight: 512", "in_flight: 256", "connections: 4096"] {
        let (name, _) = setting.split_once(':').unwrap();
        check(setting, &format!("{name}: 18446744073709551615"), &[("18446744073709551615", most)]);
    }
    for port in ["99999", "65536", "0", "", "x"] {
        let url = format!("https://host:{port}");
        let told = format!(
            "`{url}` is not a URL such as `https://host` or `https://host:8443`, with a port up to 65535"
        );
        let written = format!("'{url}'");
        let endpoint = "https://modelarts.cn-north-4.myhuaweicloud.com";
        check(endpoint, &written, &[(&written, &told)]);
    }
}

/// `checkpoint_key:` whose value was taken out is not a ledger that nobody wants signed.
#[test]
fn a_setting_without_a_value_is_not_one_that_was_left_out() {
    let empty = "a value is needed here, and this is nothing: write it, or leave the field out";
    for (name, value) in [
        ("checkpoint_key", " secrets/checkpoint.pem\n"),
        ("client_ca", " tls/clients.crt\n"),
        ("max_lifetime", " 24h\n"),
        ("groups", " groups\n"),
        ("ca", " system\n"),
    ] {
        for nothing in ["", " ~", " null"] {
            let written = format!("{name}:{value}");
            let text = example().replacen(&written, &format!("{name}:{nothing}\n"), 1);
            let told = complaints(&text);
            assert!(told.len() == 1 && told[0].ends_with(empty), "{name}:{nothing} {told:?}");
        }
    }
}

#[test]
fn listeners_are_checked() {
    let socket = "  - socket: run/lychgate.sock\n";
    let principal = "    principal:\n      name: cleanup-local\n";
    let both = "write one of `address` and `socket`";
    check(
        socket,
        "  - socket: run/lychgate.sock\n    address: 127.0.0.1:1\n",
        &[("127.0.0.1:1\n", both)],
    );
    check(
        socket,
        "  - tls: off\n",
        &[("- address: 0.0", "a listener needs an `address` or a `socket`")],
    );
    check(
        principal,
        "",
        &[(
            "run/lychgate.sock",
            "a Unix socket needs a `principal`: whoever can open the socket is that principal",
        )],
    );
    check(
        socket,
        "  - socket: run/lychgate.sock\n    tls: {certificate: a, key: b}\n",
        &[("{certificate: a", "a Unix socket takes no `tls`: nobody is between its two ends")],
    );
    let long = "s".repeat(108);
    check(
        "run/lychgate.sock",
        &long,
        &[(&long, "the path of a Unix socket must have at most 107 bytes")],
    );
    check(
        "  - address: 127.0.0.1:8482\n",
        "  - address: 127.0.0.1:8482\n    tls: {certificate: a, key: b, client_ca: c}\n",
        &[("c}", "this listener has a fixed principal, so its `client_ca` would have no effect")],
    );
}

/// What is wrong with a listener's files is told where they are named.
#[tokio::test]
async fn tls_files_are_checked() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for (tls, column, expected) in [
        ("{certificate: tls/localhost.pem, key: tls/localhost.key}", 0, None),
        ("{certificate: tls/no.pem, key: tls/localhost.key}", 24, Some("tls/no.pem: it cannot be")),
        ("{certificate: tls/ca.pem, key: tls/localhost.key}", 41, Some("cannot be used together")),
        (
            "{certificate: tls/version1.pem, key: tls/version1.key}",
            24,
            Some("tls/version1.pem: the certificate is of X.509 version 1"),
        ),
        (
            "{certificate: tls/localhost.pem, key: tls/encrypted.key}",
            48,
            Some("tls/encrypted.key: the key is encrypted"),
        ),
        (
            "{certificate: tls/localhost.pem, key: tls/encrypted-old.key}",
            48,
            Some("tls/encrypted-old.key: the key is encrypted"),
        ),
        (
            "{certificate: tls/localhost.pem, key: tls/localhost.key, client_ca: tls/no.pem}",
            78,
            Some("tls/no.pem: it cannot be"),
        ),
    ] {
        let listen = format!("listen:\n  - address: 0.0.0.0:8443\n    tls: {tls}\n");
        let text = example();
        let (before, rest) = text.split_once("listen:\n").unwrap();
        let (_, rest) = rest.split_once("  - address: 127.0.0.1:8482").unwrap();
        let text = format!("{before}{listen}  - address: 127.0.0.1:8482{rest}");
        let now = "2026-01-15T12:00:00Z".parse().unwrap();
        let (complaints, _) = Config::parse(&text, &data).unwrap().check_tls(now).await;
        let line = u64::try_from(before.lines().count() + 3).unwrap();
        match (expected, &complaints[..]) {
            (None, []) => (),
            (Some(expected), [complaint]) => {
                assert_eq!((complaint.line, complaint.column), (line, column), "{tls}");
                assert!(complaint.message.contains(expected), "{}", complaint.message);
            }
            (_, complaints) => panic!("{tls}: {complaints:?}"),
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for age in ["0s", "99ms", "61s", "100h"] {
        check(
            "max_age: 2s",
            &format!("max_age: {age}"),
            &[(
                &format!("{age}\n"),
                "`max_age` must be 100ms to 60s: look-ups and the ledger need time, and jobs change",
            )],
        );
    }
    for age in ["100ms", "60s"] {
        check("max_age: 2s", &format!("max_age: {age}"), &[]);
    }
    let endpoint = "https://modelarts.cn-north-4.myhuaweicloud.com";
    let fragment = format!("'{endpoint}#x'");
    check(endpoint, &fragment, &[(&fragment, "a URL here must not hold a `#`")]);
    let urn = "it is a part of URNs, so it must be letters, digits, `-` and `_`; nothing is substituted in it";
    for text in ["'${REGION}'", "' '", "'cn north'", "'cn-north-4 '", "'a:b'", "'*'", "'ü'"] {
        check("region: cn-north-4", &format!("region: {text}"), &[(text, urn)]);
    }
}

/// They are labels of metrics, and parts of records and principals.
#[test]
fn configured_names_are_plain() {
    let upstream = "a name must be 1 to 64 lower-case letters, digits and hyphens";
    let issuer = "the name must be 1 to 32 lower-case letters, digits and hyphens";
    let long = format!("'{}'", "x".repeat(65));
    for name in ["BJ4", "'a_b'", "'a,b'", "\"a\\nb\"", "\"a\\u202eb\"", "'a}b'", &long] {
        check("- name: bj4", &format!("- name: {name}"), &[(name, upstream)]);
        check("- name: corp", &format!("- name: {name}"), &[(name, issuer)]);
    }
}

/// What tokens say is compared exactly, so that these would match none.
#[test]
fn names_of_tokens_are_seen() {
    let unseen =
        "it has spaces or characters that are not seen, and what tokens say is compared exactly";
    let claim = "names of claims have no spaces at their ends and no unseen characters";
    let issuer = "issuer: https://id.example";
    for (from, to, at, told) in [
        (issuer, "issuer: 'https://id.example '", "'https://id", unseen),
        (issuer, "issuer: \"https://id.\\u200bexample\"", "\"https://id", unseen),
        ("audience: [lychgate]", "audience: [' lychgate']", "[' lych", unseen),
        ("groups: groups", "groups: 'groups '", "'groups '", claim),
        ("groups: groups", "groups: [a, \"b\\u2060\"]", "[a, ", claim),
        (
            "algorithms: [RS256",
            "algorithms: [RS256, eddsa",
            "eddsa",
            "`eddsa` is not an algorithm that is known here: did you mean `EdDSA`?",
        ),
    ] {
        check(from, to, &[(at, told)]);
    }
}

#[test]
fn a_region_that_is_not_that_of_the_endpoint_is_remarked() {
    let remarks = |from: &str, to: &str| {
        let text = example();
        assert!(text.contains(from), "{from}");
        let config = Config::parse(&text.replacen(from, to, 1), Path::new("/etc")).unwrap();
        config.remarks().into_iter().filter(|it| it.contains("endpoint")).count()
    };
    let endpoint = "https://modelarts.cn-north-4.myhuaweicloud.com";
    for (from, to, count) in [
        ("region: cn-north-4", "region: cn-north-4", 0),
        ("region: cn-north-4", "region: cn-east-3", 1),
        ("region: cn-north-4", "region: CN-North-4", 1),
        (endpoint, "https://modelarts.eu-west-101.myhuaweicloud.eu", 1),
        (endpoint, "https://gateway.example.com", 0),
    ] {
        assert_eq!(remarks(from, to), count, "{to}");
    }
}

/// What is written for a collector may be a password, so it is not repeated.
#[test]
fn a_collector_is_an_http_url_without_a_path_of_its_own() {
    const URL: &str = "write the base URL of a collector, as http://collector:4318, without user, query or fragment";
    const SIGNAL: &str =
        "write the URL without `/v1/{signal}`: the gate appends what it sends, traces or logs";
    const GRPC: &str =
        "port 4317 takes OTLP over gRPC: name the collector's port for HTTP, mostly 4318";
    for (otlp, expected) in [
        ("http://u:hunter2@collector:4318", URL),
        ("http://hunter2@collector:4318", URL),
        ("http://collector:4318?token=hunter2", URL),
        ("'http://collector:4318#hunter2'", URL),
        ("grpc://collector:4318", URL),
        ("collector:4318", URL),
        ("hunter2", URL),
        ("http://collector:99999", URL),
        ("http://collector:4318/v1/traces", SIGNAL),
        ("http://collector:4318/otlp/v1/logs/", SIGNAL),
        ("http://collector:4317", GRPC),
    ] {
        check("otlp: http://collector:4318", &format!("otlp: {otlp}"), &[(otlp, expected)]);
        assert!(!expected.contains("hunter2"));
    }
    for otlp in ["https://collector", "http://collector:4318/", "http://[::1]:4318/otlp"] {
        check("otlp: http://collector:4318", &format!("otlp: '{otlp}'"), &[]);
    }
}

#[test]
fn limits_and_checkpoints_are_checked() {
    check(
        "{rate: 20, burst: 100}",
        "{rate: 0, burst: 0}",
        &[("0, burst", "`rate` must be at least 1"), ("0}\n", "`burst` must be at least 1")],
    );
    check(
        "checkpoint_records: 1000\n  checkpoint_interval: 1m",
        "checkpoint_records: 0\n  checkpoint_interval: 0s",
        &[
            ("0\n  checkpoint_i", "`checkpoint_records` must be at least 1"),
            ("0s\n", "`checkpoint_interval` must be longer than 0"),
        ],
    );
    let unsigned = "without `checkpoint_key` nothing is signed";
    check(
        "  checkpoint_key: secrets/checkpoint.pem\n",
        "",
        &[("1000\n", unsigned), ("1m\n", unsigned)],
    );
}

#[track_caller]
fn check_forwarder(from: &str, to: &str, expected: &[(&str, &str)]) {
    check_in(&forwarder(), from, to, expected);
}

#[test]
fn a_forwarder_has_nothing_that_would_do_nothing() {
    let check = check_forwarder;
    let judges = |it: &str| {
        format!("take `{it}` out: a forwarder judges nothing: the central gate does, with its own")
    };
    check(
        "    principal: {name: trainer}\n",
        "",
        &[(
            "127.0.0.1:8480",
            "a forwarder verifies no credential, so each of its listeners needs a `principal`",
        )],
    );
    check(
        "{name: trainer}",
        "{name: trainer, groups: [jobs]}",
        &[(
            "{name: trainer",
            "a forwarder tells nobody the groups and tags of a principal: the central gate knows the caller by the token",
        )],
    );
    check(
        "limits:\n",
        "identity: {}\npolicies: {directory: p}\nattributes: {}\nledger: {directory: l}\nsettle: {window: 1m}\nlimits:\n  per_principal: {rate: 1}\n",
        &[
            ("{}\npolicies", &judges("identity")),
            ("{directory: p}", &judges("policies")),
            ("{}\nledger", &judges("attributes")),
            (
                "{directory: l}",
                "take `ledger` out: a forwarder decides nothing that it could record: the central gate keeps the ledger",
            ),
            (
                "{window: 1m}",
                "take `settle` out: a forwarder has no ledger to settle: the central gate does",
            ),
            (
                "{rate: 1}",
                "take `per_principal` out: a forwarder has one principal per listener: `in_flight` limits it, and the central gate its rate",
            ),
        ],
    );
}

#[test]
fn a_forwarder_has_one_gate_and_a_token_for_it() {
    let check = check_forwarder;
    check(
        "    token: /var/run/secrets/lychgate/token\n",
        "    region: r\n    account: a\n    credentials: {file: f}\n    algorithm: V11-HMAC-SHA256\n    in_flight: 1\n",
        &[
            ("central\n", "the upstream `central` has no `token`"),
            ("r\n    account", "an upstream of kind gate has no `region`"),
            ("a\n    credentials", "an upstream of kind gate has no `account`"),
            ("{file: f}", "an upstream of kind gate has no `credentials`"),
            ("V11", "an upstream of kind gate has no `algorithm`"),
            ("1\n    # system", "an upstream of kind gate has no `in_flight`"),
        ],
    );
    check(
        "limits:\n",
        "  - {name: second, kind: gate, endpoint: 'http://127.0.0.1:1', token: t}\nlimits:\n",
        &[
            (
                "gate\n",
                "a forwarder has one upstream, the central gate: no other gate and no cloud beside it",
            ),
            (
                "gate, endpoint",
                "a forwarder has one upstream, the central gate: no other gate and no cloud beside it",
            ),
        ],
    );
    check(
        "endpoint: https://lychgate",
        "endpoint: http://lychgate",
        &[("http://lychgate", "use https; http is for loopback addresses only")],
    );
    check(
        "projects: ['*']",
        "projects: ['a*b']",
        &[(
            "'a*b'",
            "a project must be 1 to 64 letters, digits and hyphens, with at most one `*`, at the end",
        )],
    );
}

#[test]
fn a_gate_needs_what_a_forwarder_must_not_have() {
    let gate = "{name: second, kind: gate, endpoint: 'http://127.0.0.1:1', token: t}";
    let one =
        "a forwarder has one upstream, the central gate: no other gate and no cloud beside it";
    let text = example().replacen("upstreams:\n", &format!("upstreams:\n  - {gate}\n"), 1);
    assert!(complaints(&text).iter().any(|it| it.ends_with(one)), "{:?}", complaints(&text));
    check(
        "    region: cn-north-4\n",
        "    token: t\n",
        &[
            ("bj4\n", "the upstream `bj4` has no `region`"),
            ("t\n    account", "a token is for an upstream of kind gate"),
        ],
    );
    let missing =
        "listen: [{address: '127.0.0.1:1'}]\nadmin: {address: '127.0.0.1:2'}\nupstreams: []\n";
    assert_eq!(
        complaints(missing),
        [
            "0:0: no `policies`: name the directory that says who may delete what",
            "0:0: no `ledger`: name the directory for the record of all decisions",
            "1:9: nobody could be authenticated: name a token issuer under `jwt`, a file under `keys`, a `client_ca` under a listener's `tls`, or give a loopback listener a `principal`",
            "3:12: no upstream: the gate would have nowhere to send a delete",
        ]
    );
}

#[test]
fn a_sidecar_does_not_share_its_cloud_key_unawares() {
    let shared = "every container of this pod can ask for this credential itself, and then deletes without the gate: use `file` or `oidc`, or write `shared_with_pod: true` to accept that";
    for source in ["ecs_metadata: {}", "pod_identity: {}"] {
        check("file: secrets/cloud.yaml", source, &[(source, shared)]);
        let accepted = format!("{source}\n      shared_with_pod: true");
        check("file: secrets/cloud.yaml", &accepted, &[]);
        let central = example().replacen("file: secrets/cloud.yaml", source, 1);
        let (before, rest) = central.split_once("  # A loopback listener").unwrap();
        let (_, after) = rest.split_once("# /livez").unwrap();
        assert_eq!(complaints(&format!("{before}\n# /livez{after}")), [""; 0], "{source}");
    }
}

/// attack 90
#[test]
fn temporary_credentials_are_checked() {
    let near = "write a link-local or loopback address with `http://`";
    let one = "name one source: `file`, `environment`, `ecs_metadata`, `pod_identity` or `oidc`";
    let https = "use https; http is for loopback addresses only";
    let oidc = |endpoint: &str, duration: &str| {
        format!(
            "oidc: {{provider: p, agency: a, token: t, endpoint: '{endpoint}', duration: {duration}}}"
        )
    };
    // The example has a listener with a fixed principal, so that it could be a sidecar.
    let ecs = |it: &str| format!("shared_with_pod: true\n      ecs_metadata: {it}");
    let file = "file: secrets/cloud.yaml";
    for (to, place, message) in [
        (ecs("{endpoint: 'https://169.254.169.254'}"), "'https://169", near),
        (ecs("{endpoint: 'http://10.0.0.1'}"), "'http://10.", near),
        (ecs("{endpoint: 'x'}"), "'x'", near),
        (oidc("https://sts.example", "14m"), "14m", "a credential must last 15m to 12h"),
        (oidc("https://sts.example", "13h"), "13h", "a credential must last 15m to 12h"),
        (oidc("http://sts.example", "1h"), "'http://sts", https),
        (format!("{file}\n      environment: true"), "file: secrets/cloud.yaml\n      env", one),
        (format!("{file}\n      {}", ecs("{}")), "file: secrets/cloud.yaml\n      shared", one),
        ("environment: false".to_owned(), "environment: false", one),
    ] {
        check(file, &to, &[(place, message)]);
    }
    for good in [
        "environment: true".to_owned(),
        ecs("{}"),
        ecs("{endpoint: 'http://127.0.0.1:8'}"),
        "shared_with_pod: true\n      pod_identity: {ca: tls/agent-ca.pem}".to_owned(),
        oidc("https://sts.example", "15m"),
        oidc("http://127.0.0.1:8", "12h"),
    ] {
        check(file, &good, &[]);
    }
}

/// attack 90
///
/// The first syntax error hides the rest, but it too is told with its place and what would do.
#[test]
fn a_syntax_error_is_told_where_it_is() {
    for (from, to, place, parts) in [
        ("max_age: 2s", "max_age: 2", "2\n  # What", ["`2`", "such as `2s`"]),
        ("reserve: 64MiB", "reserve: 64MB", "64MB", ["`64MB`", "such as `64MiB`"]),
        ("in_flight:", "in_fligth:", "in_fligth", ["in_fligth", "in_flight"]),
        ("    tls: off", "    tls: on", "on\n", ["`off`", "`certificate`"]),
        ("certificate: tls/tls.crt", "certificat: x", "certificat:", ["certificat", "certificate"]),
        ("      key: tls/tls.key\n", "", "", ["`key`", "missing"]),
        ("kind: modelarts", "kind: obs", "obs\n", ["obs", "modelarts"]),
        ("ca: system", "ca: &a system", "", ["anchor", ""]),
    ] {
        let text = example().replacen(from, to, 1);
        let [complaint] = &complaints(&text)[..] else { panic!("{to}: {:?}", complaints(&text)) };
        let before = &text[..text.find(place).unwrap()];
        let line = before.matches('\n').count() + 1;
        assert!(
            place.is_empty() || complaint.starts_with(&format!("{line}:")),
            "{to}: {complaint}"
        );
        for part in parts {
            assert!(complaint.contains(part), "{to}: {complaint}");
        }
    }
}
