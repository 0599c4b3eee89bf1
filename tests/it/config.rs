//! The configuration file: the example is complete and loads, and every mistake is told where it is.

use lychgate::config::Config;

use std::path::Path;

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("lychgate.example.yaml");
    std::fs::read_to_string(path).unwrap()
}

fn complaints(text: &str) -> Vec<String> {
    let complaints = Config::parse(text, Path::new("/etc/lychgate")).err().unwrap_or_default();
    complaints.iter().map(|it| format!("{}:{}: {}", it.line, it.column, it.message)).collect()
}

#[test]
fn the_example_loads() {
    let config = Config::parse(&example(), Path::new("/etc/lychgate")).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.policies, Path::new("/etc/lychgate/policies"));
    assert_eq!(config.upstreams[0].config.projects, ["0a1b*"]);
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
    let text = example();
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
            "`{it}` is reachable from outside: write `tls: off` if something in front of it does TLS"
        )
    };
    let fixed = "a fixed principal is for loopback listeners only: everybody who reaches this address would be it";
    let project =
        "a project is 1 to 64 letters, digits and hyphens, with at most one `*`, at the end";
    check(
        "address: 127.0.0.1:8481",
        "address: localhost:8481",
        &[("localhost:8481", "`localhost:8481` is no address: write it as `127.0.0.1:8480`")],
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
            ("x]", "`x` is no address and no network"),
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
        &[("none]", "`none` is no algorithm: use RS256, PS256, ES256, EdDSA or the like")],
    );
    check(
        "file: secrets/jwks.json",
        "file: a\n        discovery: true",
        &[("file: a\n", "write exactly one of `discovery: true`, `file` and `url`")],
    );
    check("ratio: 1.0", "ratio: 2", &[("2\n  # The most traces", "a share is 0 to 1")]);
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
            ("0s\n", "`checkpoint_interval` is longer than nothing"),
        ],
    );
    let unsigned = "without `checkpoint_key` nothing is signed";
    check(
        "  checkpoint_key: secrets/checkpoint.pem\n",
        "",
        &[("1000\n", unsigned), ("1m\n", unsigned)],
    );
}

/// The first syntax error hides the rest, but it too is told with its place and what would do.
#[test]
fn a_syntax_error_is_told_where_it_is() {
    for (from, to, place, parts) in [
        ("max_age: 2s", "max_age: 2", "2\n  # What", ["`2`", "such as `2s`"]),
        ("reserve: 64MiB", "reserve: 64MB", "64MB", ["`64MB`", "such as `64MiB`"]),
        ("in_flight:", "in_fligth:", "in_fligth", ["in_fligth", "in_flight"]),
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
