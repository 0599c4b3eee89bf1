//! Checkpoints: what is signed, and how each way to change a ledger shows.

use super::*;

use crate::clock::Clock;
use crate::ledger::fixture::disk::Disk;
use crate::ledger::fixture::{self, NOON, lines, noon, record};
use crate::ledger::line::Head;
use crate::ledger::read::reader::{segment_name, segments};
use crate::ledger::write::writer::Limits;
use crate::ledger::{
    Config, Ending, Kind, OpenError, Status, Trust, Unverified, open, start, verify_signed,
};
use crate::metrics::Metrics;

use jiff::SignedDuration;
use std::fs;
use tempfile::TempDir;

/// A key made for this test; it signs nothing else.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIHF1LcC5D1qICN139iXB0iJ3IGrJxJQD7KM+j11eQx/g
-----END PRIVATE KEY-----
";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAFkwMdC5ch7wczieKidOECVCbfxhbWGzBTuLOqzNmFGw=
-----END PUBLIC KEY-----
";

fn put(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn config(directory: &TempDir, records: u64) -> Config {
    let key = put(directory, "private.pem", PRIVATE);
    let checkpoints = Some(Checkpoints { key, records, interval: Duration::from_secs(3600) });
    Config { checkpoints, ..fixture::config(&directory.path().join("ledger")) }
}

/// Writes `decisions` decisions in a run of their own.
async fn write(config: &Config, decisions: usize) {
    let opened = open(config, noon(), &Metrics::new()).unwrap();
    for _ in 0..decisions {
        record(&opened.ledger, "a").await.unwrap().close(Ending::Denied.into());
    }
    opened.thread.close().await.unwrap();
}

fn kinds(directory: &Path) -> Vec<bool> {
    lines(directory).iter().map(|it| it.contains(r#""kind":"checkpoint""#)).collect()
}

fn public(directory: &TempDir) -> PublicKey {
    PublicKey::read(&put(directory, "public.pem", PUBLIC)).unwrap()
}

#[tokio::test]
async fn a_checkpoint_follows_every_so_many_records_and_ends_a_run() {
    let directory = TempDir::new().unwrap();
    let config = config(&directory, 4);
    write(&config, 3).await;
    let kinds = kinds(&config.directory);
    let count = kinds.iter().filter(|it| **it).count();
    // One policies record, three decisions, three outcomes, in groups that vary from run to run.
    assert_eq!(kinds.len() - count, 7, "{kinds:?}");
    assert!((1..=2).contains(&count), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&true));
    let trust = Trust { keys: vec![public(&directory)], kept: Vec::new() };
    let verified = verify_signed(&config.directory, &trust).unwrap().unwrap();
    assert_eq!(verified.signed, Some(verified.last));
    // Nothing new, nothing to sign.
    let before = lines(&config.directory);
    write(&config, 0).await;
    assert_eq!(lines(&config.directory), before);
}

#[tokio::test]
async fn a_cut_or_rewritten_ledger_is_found_with_a_kept_checkpoint() {
    let directory = TempDir::new().unwrap();
    let config = config(&directory, 1000);
    write(&config, 2).await;
    let whole = lines(&config.directory);
    let kept = Kept::read(&put(&directory, "kept.json", whole.last().unwrap())).unwrap();
    let trust = |kept: &[&Kept]| Trust {
        keys: vec![public(&directory)],
        kept: kept.iter().map(|it| (*it).clone()).collect(),
    };
    write(&config, 1).await;
    assert!(verify_signed(&config.directory, &trust(&[&kept])).is_ok());
    let late = lines(&config.directory).pop().unwrap();
    let late = Kept::read(&put(&directory, "late.json", &late)).unwrap();

    // The second run's segment vanishes: a whole chain, but not as long as it was.
    let second = *segments(&config.directory).unwrap().last().unwrap();
    fs::remove_file(config.directory.join(segment_name(second))).unwrap();
    assert!(verify_signed(&config.directory, &trust(&[&kept])).is_ok());
    let error = verify_signed(&config.directory, &trust(&[&kept, &late])).unwrap_err();
    assert!(matches!(error, Unverified::Cut { kept, last } if last < kept), "{error}");

    // Another past of the same ledger, signed by the same key.
    let segment = config.directory.join(segment_name(1));
    let text = whole[..whole.len() - 1].join("\n") + "\n";
    fs::write(&segment, text).unwrap();
    write(&config, 1).await;
    let text = lines(&config.directory)[whole.len() - 1].clone().into_bytes();
    let now = Kept { text, ..kept.clone() };
    for kept in [vec![&kept], vec![&kept, &now], vec![&now, &kept]] {
        let error = verify_signed(&config.directory, &trust(&kept)).unwrap_err();
        assert!(error.to_string().contains("not the checkpoint that was kept"), "{error}");
    }
}

#[tokio::test]
async fn only_the_given_keys_sign() {
    let directory = TempDir::new().unwrap();
    let config = config(&directory, 1000);
    write(&config, 1).await;
    let pair = Ed25519KeyPair::generate().unwrap();
    let bytes = pair.public_key().as_ref().to_vec();
    let other = PublicKey { hex: HEXLOWER.encode(&bytes), bytes };
    let mine = public(&directory);
    // Signed by another key, under this key's name.
    let forged = PublicKey { hex: mine.hex.clone(), bytes: other.bytes.clone() };
    for (keys, message) in [
        (vec![mine.clone()], None),
        (vec![other.clone(), mine], None),
        (vec![other], Some("signed by the key 164c0c74")),
        (vec![forged], Some("signature is wrong")),
        (vec![], None),
    ] {
        let error = verify_signed(&config.directory, &Trust { keys, kept: Vec::new() }).err();
        let error = error.map(|it| it.to_string());
        assert_eq!(error.is_some(), message.is_some(), "{error:?}");
        assert!(error.unwrap_or_default().contains(message.unwrap_or_default()));
    }
    let unsigned =
        Config { checkpoints: None, directory: directory.path().join("other"), ..config };
    write(&unsigned, 1).await;
    let trust = Trust { keys: vec![public(&directory)], kept: Vec::new() };
    let error = verify_signed(&unsigned.directory, &trust).unwrap_err();
    assert!(matches!(error, Unverified::Unsigned), "{error}");
}

#[tokio::test]
async fn a_checkpoint_that_could_not_be_written_is_signed_anew() {
    let directory = TempDir::new().unwrap();
    let signer = config(&directory, 1).checkpoints.map(|it| Signer::read(&it).unwrap());
    let limits =
        Limits { reserve_bytes: 0, segment_bytes: 1 << 20, retain: SignedDuration::MAX, signer };
    let (disk, id) = (Disk::new(), LedgerId::random());
    let at = (id.clone(), Head::start(&id));
    let clock = noon();
    let (opened, _) =
        start(at, clock.clone(), Box::new(disk.clone()), limits, &Metrics::new()).unwrap();
    let ledger = &opened.ledger;
    let entry = record(ledger, "a").await.unwrap();
    disk.change(|it| it.room = Some(3));
    entry.close(Ending::Denied.into());
    let mut status = ledger.status.clone();
    status.wait_for(|it| *it == Status::Unwritable).await.unwrap();
    // The rewritten ledger has another time and other records.
    clock.set(clock.now() + Duration::from_secs(60));
    disk.change(|it| it.room = None);
    record(ledger, "b").await.unwrap().close(Ending::Denied.into());
    opened.thread.close().await.unwrap();

    assert!(!disk.records(&id).is_empty(), "and the chain is whole");
    let text = disk.change(|it| it.segments.values().flatten().copied().collect::<Vec<_>>());
    let mut checked = 0;
    for line in text.split_inclusive(|it| *it == b'\n').map(<[u8]>::trim_ascii_end) {
        let (frame, _) = Frame::parse(line).unwrap();
        if frame.kind == Kind::Checkpoint {
            assert_eq!(check(&frame, line, &[public(&directory)]), Ok(()));
            checked += 1;
        }
    }
    assert!(2 <= checked, "{checked}");
}

/// The signature covers what a checkpoint says, so it says nothing else.
#[tokio::test]
async fn a_checkpoint_says_nothing_that_is_not_signed() {
    let directory = TempDir::new().unwrap();
    let signer = Signer::read(&config(&directory, 1).checkpoints.unwrap()).unwrap();
    let (id, time) = (LedgerId::random(), NOON.parse().unwrap());
    let start = Head::start(&id);
    let members = signer.sign(&id, 1, time, start.hash).unwrap();
    for (more, expected) in [
        (&b""[..], Ok(())),
        (
            br#","note":"all is well""#,
            Err(Fault::Malformed("a checkpoint has no `note`".to_owned())),
        ),
    ] {
        let mut line = Vec::new();
        Head::start(&id).append(&mut line, &id, time, &[&members, more].concat());
        let line = line.trim_ascii_end();
        let (frame, _) = Frame::parse(line).unwrap();
        assert_eq!(check(&frame, line, &[public(&directory)]), expected);
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let directory = TempDir::new().unwrap();
    for text in
        ["", "not a key", PUBLIC, "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"]
    {
        let key = put(&directory, "key.pem", text);
        let checkpoints = Checkpoints { key, records: 1, interval: Duration::ZERO };
        let config = Config { checkpoints: Some(checkpoints), ..config(&directory, 1) };
        let error = open(&config, Clock::system(), &Metrics::new()).unwrap_err();
        assert!(matches!(error, OpenError::Key { .. }), "{error}");
    }
    for text in ["", PRIVATE, "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n"] {
        assert!(PublicKey::read(&put(&directory, "key.pem", text)).is_err(), "{text}");
    }
    assert!(Kept::read(&put(&directory, "kept.json", "{}")).is_err());
}

#[test]
fn when_a_checkpoint_is_due() {
    let directory = TempDir::new().unwrap();
    let key = put(&directory, "key.pem", PRIVATE);
    let signer =
        Signer::read(&Checkpoints { key, records: 10, interval: Duration::from_secs(60) }).unwrap();
    for (records, seconds, due) in [
        (0, 0, false),
        (0, 3600, false),
        (1, 59, false),
        (1, 60, true),
        (9, 0, false),
        (10, 0, true),
        (500, 0, true),
    ] {
        let since = Duration::from_secs(seconds);
        assert_eq!(signer.is_due(records, since), due, "{records} {seconds}");
    }
}
