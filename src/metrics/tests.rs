//! The text that scrapers read, held to the table.

use super::*;

const NOON: i64 = 1_768_478_400;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Everything happens once.
fn busy() -> Metrics {
    let it = Metrics::new();
    it.set_ready(true);
    it.connection_opened();
    it.connection_refused(ConnectionLimit::Peer);
    it.request(StatusCode::ACCEPTED, Origin::Upstream, None, Duration::from_millis(120));
    it.request(StatusCode::FORBIDDEN, Origin::Gateway, Some(4031), Duration::from_millis(4));
    it.head_refused(4006);
    it.authentication(AuthMethod::Jwt, None);
    it.authentication(AuthMethod::Key, Some((4018, IdentityFault::Signature)));
    it.decision(Action::Delete, Decision::Allow);
    it.decision(Action::Get, Decision::OutsideGuardrails);
    let budget: Arc<str> = "per-principal".into();
    it.set_budgets(&[(Arc::clone(&budget), 0.5)], true);
    it.over_budget(&budget);
    it.look_up(LookUp::Tags, LookUpResult::Found);
    let upstream = it.upstream("bj4");
    upstream.request(Operation::Delete, Some(StatusCode::ACCEPTED), Duration::from_millis(90));
    upstream.request(Operation::Tags, None, Duration::from_secs(5));
    upstream.connect_failed();
    upstream.set_breaker_open(true);
    upstream.set_clock_skew(-3);
    upstream.date_unreadable();
    upstream.set_credential_expiry(Some(at(NOON)));
    it.issuer("corp").keys_read(at(NOON));
    it.issuer("corp").keys_failed();
    it.policies_loaded("0123456789abcdef0123", 3, at(NOON));
    it.policies_refused();
    it.set_shadow_loaded(true);
    it.shadow_decision(Live::Deny, Shadow::Allow);
    it.ledger_records(LedgerRecord::Decision, 2);
    it.ledger_committed(2, Duration::from_micros(3_900));
    it.ledger_failed(LedgerFault::Write);
    it.ledger_rejected(7);
    it.set_ledger_unshipped(12);
    it.set_ledger_queue(3);
    it.set_ledger_pending(1);
    it.set_ledger_free(1 << 30);
    it.set_certificate_expiry("0.0.0.0:8480", at(NOON));
    it.tls_handshake_failed();
    it.tls_reload_failed();
    it.spans_exported(8, true);
    it.spans_dropped(9);
    it.panicked();
    it
}

/// The order of series within a family is that of a hash map: sorted per family.
fn sorted(text: &str) -> String {
    let mut families: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        match families.last_mut() {
            Some(family) if !line.starts_with("# HELP") && line != "# EOF" => family.push(line),
            _ => families.push(vec![line]),
        }
    }
    for family in &mut families {
        // Comments first, then the series; the buckets of one label set keep their order.
        family.sort_by_key(|line| match line.split_once("le=") {
            _ if line.starts_with('#') => (String::new(), String::new()),
            Some((start, le)) => {
                let rest = le.split_once("\",").map_or("", |(_, rest)| rest);
                (start.to_owned(), rest.split('}').next().unwrap_or_default().to_owned())
            }
            None => ((*line).to_owned(), String::new()),
        });
    }
    families.concat().join("\n") + "\n"
}

#[test]
fn the_text_is_golden() {
    let golden = include_str!("../../tests/data/metrics.txt");
    let text = sorted(&busy().encode());
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    assert!(text == golden, "tests/data/metrics.txt should be:\n{text}");
}

#[test]
fn the_table_is_what_is_encoded() {
    let text = busy().encode();
    let types: Vec<_> = text.lines().filter(|it| it.starts_with("# TYPE ")).collect();
    assert_eq!(types.len(), DEFINITIONS.len());
    for (line, definition) in types.iter().zip(DEFINITIONS) {
        let (family, kind, suffix) = match definition.kind {
            Kind::Counter => (definition.name.strip_suffix("_total"), "counter", ""),
            Kind::Gauge => (Some(definition.name), "gauge", ""),
            Kind::Histogram => (Some(definition.name), "histogram", "_count"),
            Kind::Info => (definition.name.strip_suffix("_info"), "info", ""),
        };
        let family = family.unwrap_or_else(|| panic!("{} lacks its suffix", definition.name));
        assert_eq!(*line, format!("# TYPE {family} {kind}"));
        assert!(text.contains(&format!("# HELP {family} {}.\n", definition.help)));

        let start = format!("{}{suffix}", definition.name);
        let mut series = 0;
        for line in text
            .lines()
            .filter(|it| it.strip_prefix(&start).is_some_and(|rest| rest.starts_with(['{', ' '])))
        {
            series += 1;
            assert_eq!(labels(line), definition.labels, "{line}");
        }
        assert!(series > 0, "{} has no series", definition.name);
    }
    assert!(text.ends_with("\n# EOF\n"));
}

fn labels(line: &str) -> Vec<&str> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let (set, _) = rest.split_once('}').unwrap();
    set.split("\",").map(|it| it.split_once('=').unwrap().0).collect()
}

#[test]
fn names_follow_the_grammar() {
    for it in DEFINITIONS {
        assert!(it.name.starts_with("lychgate_"), "{}", it.name);
        assert_eq!(it.kind == Kind::Counter, it.name.ends_with("_total"), "{}", it.name);
        assert!(!it.help.ends_with('.'), "{}: the encoder adds the full stop", it.name);
    }
}

#[test]
fn one_policy_version_at_a_time() {
    let it = Metrics::new();
    assert!(!it.encode().contains("lychgate_policy_info"));
    it.policies_loaded("aaaaaaaaaaaaaaaaaaaa", 0, at(NOON));
    it.policies_loaded("bbbbbbbbbbbbbbbbbbbb", 0, at(NOON + 1));
    let text = it.encode();
    assert!(!text.contains("aaaa"));
    assert!(text.contains("lychgate_policy_info{digest=\"bbbbbbbbbbbb\"} 1\n"));
    assert!(text.contains("lychgate_policy_load_timestamp_seconds 1768478401\n"));
}

#[test]
fn a_credential_that_does_not_expire_has_no_series() {
    let it = Metrics::new();
    let upstream = it.upstream("bj4");
    upstream.set_credential_expiry(Some(at(NOON)));
    assert!(it.encode().contains("lychgate_credential_expiry_timestamp_seconds{"));
    upstream.set_credential_expiry(None);
    assert!(!it.encode().contains("lychgate_credential_expiry_timestamp_seconds{"));
}

#[test]
fn in_flight_ends_with_the_guard() {
    let it = Metrics::new();
    let guard = it.in_flight();
    assert!(it.encode().contains("lychgate_requests_in_flight 1\n"));
    drop(guard);
    assert!(it.encode().contains("lychgate_requests_in_flight 0\n"));
}

#[test]
fn an_upstream_has_a_series_for_each_class_of_status() {
    let it = Metrics::new();
    for status in 100..1000 {
        let status = StatusCode::from_u16(status).unwrap();
        it.upstream("u0").request(Operation::Delete, Some(status), Duration::ZERO);
    }
    let text = it.encode();
    let count = |start: &str| text.lines().filter(|it| it.starts_with(start)).count();
    assert_eq!(count("lychgate_upstream_requests_total{"), 6);
}

#[test]
fn a_status_outside_the_classes_is_one_series() {
    let it = Metrics::new();
    for status in [600, 999] {
        let status = StatusCode::from_u16(status).unwrap();
        it.request(status, Origin::Upstream, None, Duration::ZERO);
    }
    let text = it.encode();
    let series =
        "lychgate_requests_total{status=\"other\",error_code=\"none\",origin=\"upstream\"} 2\n";
    assert!(text.contains(series), "{text}");
}
