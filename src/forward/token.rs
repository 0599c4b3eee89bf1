//! The token for the central gate, in a mounted file that is replaced while the forwarder runs, as
//! a Kubernetes projected service-account token is.

use crate::client;
use crate::mounted::{Mounted, ReadError};
use crate::secret::Secret;

use http::HeaderValue;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The largest token file, in bytes; a gate reads heads of at most twice that.
pub const FILE_BYTES_MAX: u64 = 16 * 1024;

/// A bearer token.
#[derive(Debug)]
pub struct Token {
    text: Secret<String>,
    authorization: HeaderValue,
}

/// Why a file holds no token. The messages never hold a part of the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("it is empty")]
    Empty,
    #[error("it is not a JSON Web Token: one line of three parts, with dots between them")]
    Form,
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Token {
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = str::from_utf8(bytes).map_err(|_| Error::Form)?.trim();
        if text.is_empty() {
            return Err(Error::Empty);
        }
        // A JSON Web Signature in compact form (RFC 7515 §7.1): a half-written one lacks its end.
        let is_base64url = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
        let parts = text.split('.').map(|it| !it.is_empty() && it.bytes().all(is_base64url));
        if !parts.eq([true; 3]) {
            return Err(Error::Form);
        }
        let authorization = client::token_value("Bearer ", text.as_bytes()).ok_or(Error::Form)?;
        Ok(Self { text: Secret::new(text.to_owned()), authorization })
    }

    /// The value of `Authorization`.
    pub(super) fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// What an answer must not echo.
    pub(super) fn expose(&self) -> &str {
        self.text.expose()
    }
}

/// Why the file at `path` holds no token now.
pub async fn fault(path: &Path) -> Option<String> {
    let error = read(&mounted(path.to_owned())).await.err()?;
    Some(format!("{}: {error}", path.display()))
}

fn mounted(path: PathBuf) -> Mounted {
    Mounted { what: "the token for the gate", path, max: FILE_BYTES_MAX }
}

async fn read(file: &Mounted) -> Result<(Token, Vec<u8>), Error> {
    let bytes = file.read().await?;
    Ok((Token::parse(&bytes)?, bytes))
}

/// Reads the token, and reads it again until `stop`: a changed file takes effect within two seconds.
/// A file that cannot be used leaves the last good token in place, and at the start none.
pub async fn follow(
    path: PathBuf,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> watch::Receiver<Option<Arc<Token>>> {
    let file = mounted(path);
    let (token, current) = match read(&file).await {
        Ok((token, bytes)) => {
            file.warn_of_others();
            (Some(Arc::new(token)), Ok(bytes))
        }
        Err(error) => {
            let path = file.path.display();
            tracing::error!(%path, %error, "no token for the gate yet: the file is unusable");
            (None, Err(error.to_string()))
        }
    };
    let (sender, receiver) = watch::channel(token);
    tracker.spawn(async move {
        let take = |bytes: &[u8]| {
            sender.send_replace(Some(Arc::new(Token::parse(bytes)?)));
            Ok::<_, Error>(())
        };
        tokio::select! {
            () = file.follow(current, take) => (),
            () = stop.cancelled() => (),
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line() {
        for text in ["a.b.c", "a.b.c\n", "\n a.b.c \r\n"] {
            let token = Token::parse(text.as_bytes()).unwrap();
            assert_eq!(token.authorization(), "Bearer a.b.c", "{text:?}");
            assert!(token.authorization().is_sensitive());
            assert!(!format!("{token:?}").contains("a.b"), "{token:?}");
        }
        for (text, message) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("hunter2 hunter2", "three parts"),
            ("hunter2\nhunter2", "three parts"),
            ("hünter2.b.c", "three parts"),
            ("hunter2", "three parts"),
            ("hunter2.hunter2", "three parts"),
            ("hunter2.hunter2.", "three parts"),
            ("hunter2..hunter2", "three parts"),
            (".hunter2.hunter2", "three parts"),
            ("hunter2.b.c.d", "three parts"),
            ("hunter2.b.c d", "three parts"),
            ("hunter2.b.c=", "three parts"),
        ] {
            let error = Token::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(message) && !error.contains("unter2"), "{text:?}: {error}");
        }
        assert!(Token::parse(b"a\xff").is_err());
    }
}
