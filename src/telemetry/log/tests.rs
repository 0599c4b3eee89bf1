//! Whole lines, as they reach stderr.

use super::*;
use crate::metrics::{Decision, IdentityFault, Metrics, Origin};
use crate::policy::Job;
use crate::telemetry::{Stranger, Summary, TraceConfig, Tracer, request_span};
use crate::trouble::Seldom;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::time::Duration;
use std::{io, panic};

fn logged(config: &Config, log: impl FnOnce(&Clock)) -> String {
    let clock = Clock::manual("2026-01-15T12:00:00.1234567Z".parse().unwrap());
    let kept = Kept::new(config, &clock);
    log(&clock);
    kept.take()
}

fn config(format: Format, filter: &str) -> Config {
    Config { format, filter: filter.to_owned(), colour: false }
}

/// The closing line of a denied request whose caller's name is `principal`.
fn denial(clock: &Clock, principal: &str) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let metrics = Metrics::new();
        let tracer = Tracer::new(&TraceConfig::default(), &metrics, runtime.handle()).unwrap();
        let mut headers = HeaderMap::new();
        let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", HeaderValue::from_static(caller));
        let trace = tracer.begin(&headers, clock.now());
        tokio::time::advance(Duration::from_micros(4_321)).await;
        let summary = Summary {
            error_code: Some(4031),
            principal: Some(principal),
            job: Some(&Job::new("0a1b2c", "3faf5c03-aaa1-4cbe-879d-24b05d997347")),
            decision: Some(Decision::ExplicitDeny),
            statement: Some("guardrails/protect#NoProd"),
            error: Some(&io::Error::other("told\nwhy")),
            ..Summary::new("r-1", &Method::DELETE, StatusCode::FORBIDDEN, Origin::Gateway)
        };
        trace.finish(&summary);
    });
}

#[test]
fn the_closing_line_of_a_request() {
    let json = logged(&config(Format::Json, "info"), |clock| denial(clock, "corp/alice"));
    insta::assert_snapshot!(json, @r#"{"time":"2026-01-15T12:00:00.123456Z","level":"info","target":"lychgate::request","message":"request","request_id":"r-1","trace_id":"0af7651916cd43dd8448eb211c80319c","principal":"corp/alice","project":"0a1b2c","job":"3faf5c03-aaa1-4cbe-879d-24b05d997347","decision":"deny","reason":"explicit","statement":"guardrails/protect#NoProd","status":403,"error_code":"Lychgate.4031","origin":"gateway","error":"told\nwhy","duration_ms":4.321}"#);
    let human = logged(&config(Format::Human, "info"), |clock| denial(clock, "corp/alice"));
    insta::assert_snapshot!(human, @r#"2026-01-15T12:00:00.123Z  info request request_id=r-1 trace_id=0af7651916cd43dd8448eb211c80319c principal=corp/alice project=0a1b2c job=3faf5c03-aaa1-4cbe-879d-24b05d997347 decision=deny reason=explicit statement=guardrails/protect#NoProd status=403 error_code=Lychgate.4031 origin=gateway error="told\nwhy" duration_ms=4.321"#);
}

#[test]
fn what_the_gate_itself_could_not_do_is_a_warning() {
    let rows = [
        (StatusCode::SERVICE_UNAVAILABLE, Origin::Gateway, 1),
        (StatusCode::BAD_GATEWAY, Origin::Gateway, 1),
        (StatusCode::SERVICE_UNAVAILABLE, Origin::Upstream, 0),
        (StatusCode::FORBIDDEN, Origin::Gateway, 0),
        (StatusCode::ACCEPTED, Origin::Upstream, 0),
    ];
    for (status, origin, lines) in rows {
        let text = logged(&config(Format::Human, "warn"), |clock| {
            crate::telemetry::request::log(
                &Summary::new(&clock.now().to_string(), &Method::DELETE, status, origin),
                "0af7",
                Duration::ZERO,
                &Seldom::new(Duration::ZERO),
            );
        });
        assert_eq!(text.lines().count(), lines, "{status} {origin:?}");
    }
}

/// Attack 45: anybody can name a key that nobody has. While the issuer is away, that cannot be told
/// from a new one.
#[test]
fn strangers_cannot_fill_the_log_while_an_issuer_is_away() {
    let lines = |level, fault| {
        let text = logged(&config(Format::Human, level), |clock| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let tracer =
                    Tracer::new(&TraceConfig::default(), &Metrics::new(), runtime.handle());
                let tracer = tracer.unwrap();
                for _ in 0..3000 {
                    let [issuer, key_id, access_key] = [None; 3];
                    let stranger = Stranger { fault, peer: None, issuer, key_id, access_key };
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    tracer.begin(&HeaderMap::new(), clock.now()).finish(&Summary {
                        stranger: Some(stranger),
                        ..Summary::new("r-1", &Method::DELETE, status, Origin::Gateway)
                    });
                    tokio::time::advance(Duration::from_millis(10)).await;
                }
            });
        });
        text.lines().map(|it| it.contains(" warn request ")).collect::<Vec<_>>()
    };
    assert_eq!(lines("info", IdentityFault::KeysUnavailable), [true; 3]);
    assert_eq!(lines("debug", IdentityFault::KeysUnavailable).len(), 3000);
    assert_eq!(lines("info", IdentityFault::KeyId).len(), 3000);
}

#[test]
fn a_panic_is_one_counted_line() {
    let metrics = Metrics::new();
    let text = logged(&config(Format::Human, "info"), |_| {
        let usual = panic::take_hook();
        crate::telemetry::watch_panics(&metrics);
        let caught = panic::catch_unwind(|| panic!("out\nof luck"));
        panic::set_hook(usual);
        assert!(caught.is_err());
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("error panic location=src/telemetry/log/tests.rs:"), "{text}");
    assert!(text.ends_with("cause=\"out\\nof luck\"\n"), "{text}");
    assert!(metrics.encode().contains("lychgate_panics_total 1\n"));
}

#[test]
fn a_value_cannot_leave_its_place() {
    let rows = [
        "corp/a\nlevel=info forged",
        "corp/a\",\"decision\":\"allow",
        "corp/a\\",
        "corp/\u{1b}[2J\u{1b}]0;title\u{7}",
        "corp/\u{9b}31m",
        "corp/evil\u{202e}txt.exe",
        "corp/a,b",
        "corp/a\u{2028}b\0",
    ];
    for principal in rows {
        let json = logged(&config(Format::Json, "info"), |clock| denial(clock, principal));
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["principal"], principal);
        assert_eq!(parsed["decision"], "deny");
        let human = logged(&config(Format::Human, "info"), |clock| denial(clock, principal));
        for text in [json, human] {
            let line = text.strip_suffix('\n').unwrap();
            let raw = |it: char| it.is_control() || matches!(it, '\u{202e}' | '\u{2028}');
            assert!(!line.contains(raw), "{principal:?}: {line:?}");
        }
    }
}

#[test]
fn messages_and_errors_are_encoded_too() {
    let log = |_: &Clock| {
        let error = io::Error::other("disk\u{1b}[31m\nfull");
        tracing::warn!(error = &error as &dyn std::error::Error, shown = %error, "cannot\nwrite \u{202e}");
    };
    let human = logged(&config(Format::Human, "info"), log);
    insta::assert_snapshot!(human, @r#"2026-01-15T12:00:00.123Z  warn cannot\u{a}write \u{202e} error="disk\u001b[31m\nfull" shown="disk\u001b[31m\nfull""#);
    let json = logged(&config(Format::Json, "info"), log);
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed["message"], "cannot\nwrite \u{202e}");
    assert_eq!(parsed["error"], "disk\u{1b}[31m\nfull");
    assert!(!json.trim_end().contains(|it: char| it.is_control() || it == '\u{202e}'));
}

#[test]
fn an_error_is_logged_with_its_causes() {
    let log = |_: &Clock| {
        let error = Error::Client(crate::client::Error::NoSystemRoots);
        tracing::warn!(error = &error as &dyn std::error::Error, "no traces");
    };
    let human = logged(&config(Format::Human, "info"), log);
    assert!(human.contains("cannot set up the connection to the collector: this system has no CA"));
}

#[test]
fn lines_within_a_request_carry_its_ids() {
    let log = |_: &Clock| {
        let span = request_span("r-1\n", "0af7");
        span.in_scope(|| tracing::warn!(what = 1, "slow"));
    };
    let json = logged(&config(Format::Json, "info"), log);
    insta::assert_snapshot!(json, @r#"{"time":"2026-01-15T12:00:00.123456Z","level":"warn","target":"lychgate::telemetry::log::tests","message":"slow","what":1,"request_id":"r-1\n","trace_id":"0af7"}"#);
    let human = logged(&config(Format::Human, "info"), log);
    insta::assert_snapshot!(human, @r#"2026-01-15T12:00:00.123Z  warn slow what=1 request_id="r-1\n" trace_id=0af7"#);
}

#[test]
fn what_json_cannot_say_is_a_string() {
    let log = |_: &Clock| {
        tracing::info!(a = f64::NAN, b = f64::INFINITY, c = 0.5, d = -1, e = true, f = ?"q", g = u128::MAX, "m");
    };
    let json = logged(&config(Format::Json, "info"), log);
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed["a"], "NaN");
    assert_eq!(parsed["b"], "inf");
    assert_eq!(parsed["c"], 0.5);
    assert_eq!(parsed["d"], -1);
    assert_eq!(parsed["e"], true);
    assert_eq!(parsed["f"], "\"q\"");
    assert_eq!(parsed["g"], u128::MAX.to_string());
}

#[test]
fn colour_is_the_level_only() {
    let mut config = config(Format::Human, "info");
    config.colour = true;
    let text = logged(&config, |_| tracing::error!(a = "b", "m"));
    assert_eq!(text, "2026-01-15T12:00:00.123Z \u{1b}[31merror\u{1b}[0m m a=b\n");
    config.format = Format::Json;
    assert!(!logged(&config, |_| tracing::error!("m")).contains('\u{1b}'));
}

#[test]
fn filters() {
    let log = |_: &Clock| {
        tracing::info!("ours");
        tracing::debug!("ours");
        tracing::info!(target: "hyper", "theirs");
        tracing::warn!(target: "hyper", "theirs");
    };
    for (filter, lines) in [
        ("off", 0),
        ("error", 0),
        ("warn", 1),
        ("info", 2),
        ("INFO", 2),
        ("debug", 3),
        ("warn,lychgate=debug", 3),
        ("info,hyper=off", 1),
        ("trace,hyper=trace", 4),
    ] {
        assert_eq!(logged(&config(Format::Human, filter), log).lines().count(), lines, "{filter}");
    }
    let clock = Clock::system();
    for filter in ["", "inof", "verbose", "info,debig", "lychgate=loud", "a=b=c"] {
        let error = subscriber(&config(Format::Human, filter), &clock, io::sink).err();
        assert!(matches!(error, Some(Error::Filter(_))), "{filter}: {error:?}");
    }
}
