//! Signed checkpoints: an Ed25519 signature over everything before it, now and then.
//!
//! The chain alone shows a change only if the records after it were not changed to match. A
//! checkpoint shows that too: nobody can sign another past without the key. And whoever keeps a
//! checkpoint, from the log or elsewhere, can tell that the ledger's end was cut off.

#[cfg(test)]
mod tests;

use super::line::{Fault, Frame, Hash, LedgerId};
use super::record;
use super::record::Body;
use crate::mounted::{self, ReadError};
use crate::object;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest key file, and the largest kept checkpoint, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The length of an Ed25519 public key, in bytes.
const PUBLIC_KEY_BYTES: usize = 32;

/// The bytes before the key in an Ed25519 SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// When checkpoints are signed, and by which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// The Ed25519 private key: PKCS#8 in PEM, as `openssl genpkey -algorithm ED25519` makes it.
    pub key: PathBuf,
    /// The most records between two checkpoints, but for the rest of the last group.
    pub records: u64,
    /// The longest time between two checkpoints, if there are new records.
    pub interval: Duration,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read it")]
    Io(#[from] io::Error),
    /// The file holds something else.
    #[error("not an Ed25519 {0} key in PEM")]
    Malformed(&'static str),
}

/// Signs checkpoints.
#[derive(Debug)]
pub(super) struct Signer {
    pair: Ed25519KeyPair,
    /// In hex.
    public: String,
    records: u64,
    interval: Duration,
}

impl Signer {
    /// Reads the key.
    ///
    /// # Errors
    /// The file cannot be read, or is not such a key.
    pub(super) fn read(checkpoints: &Checkpoints) -> Result<Self, KeyError> {
        let pem = read(&checkpoints.key)?;
        mounted::warn_of_others(&checkpoints.key, "the key that signs checkpoints");
        let malformed = || KeyError::Malformed("private");
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| malformed())?;
        let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| malformed())?;
        let public = HEXLOWER.encode(pair.public_key().as_ref());
        let Checkpoints { records, interval, .. } = *checkpoints;
        Ok(Self { pair, public, records, interval })
    }

    /// Whether a checkpoint is due after `records` records in `since`.
    pub(super) fn is_due(&self, records: u64, since: Duration) -> bool {
        0 < records && (self.records <= records || self.interval <= since)
    }

    /// The members of the checkpoint that will be number `seq` of ledger `id`.
    ///
    /// # Errors
    /// See [`record::to_members`].
    pub(super) fn sign(
        &self,
        id: &LedgerId,
        seq: u64,
        time: Timestamp,
        prev: Hash,
    ) -> serde_json::Result<Vec<u8>> {
        let text = signed_text(id.as_str(), seq, &time.to_string(), &prev.to_string());
        let signature = HEXLOWER.encode(self.pair.sign(text.as_bytes()).as_ref());
        record::to_members(&Body::Checkpoint(record::Checkpoint {
            key: self.public.as_str().into(),
            signature: signature.into(),
        }))
    }
}

/// All members of a checkpoint's line.
const MEMBERS: [&str; 9] =
    ["v", "ledger_id", "seq", "time", "kind", "key", "signature", "prev", "sum"];

/// What is signed: the place of the checkpoint in its ledger and, through `prev`, all records
/// before it.
fn signed_text(ledger_id: &str, seq: u64, time: &str, prev: &str) -> String {
    format!("lychgate checkpoint 1\n{ledger_id}\n{seq}\n{time}\n{prev}\n")
}

/// A key that checkpoints may be signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    bytes: Vec<u8>,
    hex: String,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in PEM, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let pem = read(path)?;
        let malformed = || KeyError::Malformed("public");
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&pem).map_err(|_| malformed())?;
        let bytes = der.strip_prefix(&SPKI_PREFIX).ok_or_else(malformed)?;
        if bytes.len() != PUBLIC_KEY_BYTES {
            return Err(malformed());
        }
        Ok(Self { bytes: bytes.to_vec(), hex: HEXLOWER.encode(bytes) })
    }
}

/// Checks the signature of a checkpoint whose line is `line`, read as `frame`.
///
/// # Errors
/// [`Fault::UnknownKey`] if it names none of `keys`, [`Fault::Signature`] if it is not its signature.
pub(super) fn check(frame: &Frame<'_>, line: &[u8], keys: &[PublicKey]) -> Result<(), Fault> {
    let malformed = |error: serde_json::Error| Fault::Malformed(error.to_string());
    // The signature would not cover another member.
    let members = object::parse(line).map_err(malformed)?;
    if let Some((name, _)) = members.iter().find(|(name, _)| !MEMBERS.contains(&name.as_str())) {
        return Err(Fault::Malformed(format!("a checkpoint has no `{name}`")));
    }
    let Body::Checkpoint(checkpoint) = serde_json::from_slice(line).map_err(malformed)? else {
        return Err(Fault::Malformed("not a checkpoint".to_owned()));
    };
    let key = keys.iter().find(|it| it.hex == checkpoint.key);
    let key = key.ok_or_else(|| Fault::UnknownKey(checkpoint.key.to_string()))?;
    let text = signed_text(frame.ledger_id, frame.seq, frame.time, frame.prev);
    let signature =
        HEXLOWER.decode(checkpoint.signature.as_bytes()).map_err(|_| Fault::Signature)?;
    let key = UnparsedPublicKey::new(&ED25519, &key.bytes);
    key.verify(text.as_bytes(), &signature).map_err(|_| Fault::Signature)
}

/// A checkpoint that was kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The ledger it is from.
    pub ledger_id: LedgerId,
    /// Its number there.
    pub seq: u64,
    /// The line as it was written, without its LF.
    pub text: Vec<u8>,
}

impl Kept {
    /// Reads the one line of a file: a checkpoint as it stands in the ledger and in the log.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut text = read(path)?;
        while text.last().is_some_and(u8::is_ascii_whitespace) {
            text.pop();
        }
        let kept = Frame::parse(&text).and_then(|(frame, _)| match frame.kind {
            super::Kind::Checkpoint => Ok((frame.ledger_id()?, frame.seq)),
            _ => Err(Fault::Malformed("not a checkpoint".to_owned())),
        });
        let (ledger_id, seq) = kept.map_err(io::Error::other)?;
        Ok(Self { ledger_id, seq, text })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    mounted::read(path, FILE_BYTES_MAX).map_err(|error| match error {
        ReadError::Io(error) => error,
        too_large @ ReadError::TooLarge(_) => io::Error::other(too_large),
    })
}
