//! Configurations that are refused, and why.

use super::*;

fn remote() -> Remote {
    Remote { roots: Roots::System, bearer: None, stale: STALE_KEYS }
}

fn url(text: &str) -> Jwks {
    Jwks::Url(text.parse().unwrap(), remote())
}

fn issuer() -> Issuer {
    Issuer {
        name: "corp".to_owned(),
        issuer: "https://id.example".to_owned(),
        audience: vec!["lychgate".to_owned()],
        algorithms: vec![Algorithm::RS256],
        max_lifetime: MAX_LIFETIME,
        jwks: Jwks::Discovery(remote()),
        claims: Claims {
            name: ClaimPath::dotted("sub").unwrap(),
            groups: None,
            tags: BTreeMap::new(),
        },
    }
}

#[test]
fn every_fault_is_named() {
    let other = || Issuer {
        name: "other".to_owned(),
        issuer: "https://other.example".to_owned(),
        ..issuer()
    };
    type Change = Box<dyn Fn(&mut Issuer)>;
    let rows: Vec<(&str, Change)> = vec![
        ("name", Box::new(|it| it.name = String::new())),
        ("name", Box::new(|it| it.name = "Corp".to_owned())),
        ("name", Box::new(|it| it.name = "a/b".to_owned())),
        ("name", Box::new(|it| it.name = "a".repeat(33))),
        ("name", Box::new(|it| it.name = "keys".to_owned())),
        ("name", Box::new(|it| it.name = "corp".to_owned())),
        ("issuer", Box::new(|it| it.issuer = "https://id.example".to_owned())),
        ("audience", Box::new(|it| it.audience = Vec::new())),
        ("audience", Box::new(|it| it.audience = vec![String::new()])),
        ("algorithms", Box::new(|it| it.algorithms = Vec::new())),
        ("algorithms", Box::new(|it| it.algorithms.push(Algorithm::HS256))),
        ("max_lifetime", Box::new(|it| it.max_lifetime = Duration::ZERO)),
        ("jwks", Box::new(|it| it.issuer = "http://id.example".to_owned())),
        ("jwks", Box::new(|it| it.issuer = "corp".to_owned())),
        ("jwks", Box::new(|it| it.issuer = "https://id.example?x".to_owned())),
        ("jwks", Box::new(|it| it.jwks = url("http://id.example/keys"))),
        ("jwks", Box::new(|it| it.jwks = url("http://169.254.169.254/keys"))),
        ("jwks", Box::new(|it| it.jwks = url("http://localhost.example/keys"))),
        ("jwks", Box::new(|it| it.jwks = url("/keys"))),
        (
            "jwks",
            Box::new(|it| {
                it.jwks = Jwks::Discovery(Remote { stale: Duration::from_secs(9), ..remote() });
            }),
        ),
    ];
    for (row, (field, change)) in rows.iter().enumerate() {
        let mut changed = other();
        change(&mut changed);
        let faults = Config::new(vec![issuer(), changed], None).unwrap_err();
        let found: Vec<_> = faults.iter().map(|it| (it.issuer, it.field)).collect();
        assert_eq!(found, [(1, *field)], "row {row}");
    }
    let empty = Issuer {
        name: String::new(),
        issuer: String::new(),
        audience: Vec::new(),
        algorithms: Vec::new(),
        ..issuer()
    };
    assert_eq!(Config::new(vec![empty], None).unwrap_err().len(), 5, "all at once");

    for good in
        ["https://id.example/keys", "http://127.0.0.1:8/k", "http://[::1]/k", "http://localhost/k"]
    {
        let mut changed = other();
        changed.jwks = url(good);
        assert!(Config::new(vec![issuer(), changed], None).is_ok(), "{good}");
    }
    assert!(Config::new(Vec::new(), None).is_ok());
}

#[test]
fn claim_paths_have_steps() {
    let steps = |it: &[&str]| ClaimPath::steps(it.iter().map(|it| (*it).to_owned()).collect());
    assert_eq!(ClaimPath::dotted("realm_access.roles"), steps(&["realm_access", "roles"]));
    for name in
        ["https://id.example/groups", "id.example/groups", "urn:oid:1.3.6.1", "cognito:groups"]
    {
        assert_eq!(ClaimPath::dotted(name), steps(&[name]));
    }
    for bad in ["", ".", "a..b", "a.", "a.b.c.d.e.f.g.h.i"] {
        assert!(ClaimPath::dotted(bad).is_err(), "{bad}");
    }
    assert!(steps(&[]).is_err());
}
