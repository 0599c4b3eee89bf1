//! A credential in a mounted file, such as a Kubernetes Secret.

use super::{Issued, Publisher};
use crate::mounted::{Mounted, ReadError};
use crate::secret::Secret;
use crate::sign::{self, Credential};
use crate::yaml::{self, Faults};

use serde::Deserialize;
use std::path::PathBuf;

/// The largest credential file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why a file cannot be used as a credential. The messages never hold a part of the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// AK, SK or token have characters that they cannot have.
    #[error("the credential cannot be used: {0}")]
    Credential(#[from] sign::Error),
    #[error("it is not UTF-8")]
    NotText,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Faults(#[from] Faults),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    ak: String,
    sk: String,
    security_token: Option<String>,
}

/// Publishes what the file holds, if it can be used; the future then publishes every new content, for
/// ever.
pub(super) async fn follow(path: PathBuf, publisher: Publisher) -> impl Future<Output = ()> {
    let file = Mounted { what: "the cloud credential", path, max: FILE_BYTES_MAX };
    let first = async {
        let bytes = file.read().await?;
        Ok((parse(&bytes)?, bytes))
    };
    let current = match first.await {
        Ok((credential, bytes)) => {
            publisher.publish(Some(Issued { credential, expires: None }));
            file.warn_of_others();
            Ok(bytes)
        }
        Err(error) => {
            let error: Error = error;
            let path = file.path.display();
            publisher.trouble.begin(format!("{path}: {error}"));
            tracing::error!(%path, %error, "no cloud credential yet: the file is unusable");
            Err(error.to_string())
        }
    };
    async move {
        let take = |bytes: &[u8]| {
            let unusable = |error: &Error| {
                publisher.trouble.begin(format!("{}: {error}", file.path.display()));
            };
            let credential = parse(bytes).inspect_err(unusable)?;
            publisher.publish(Some(Issued { credential, expires: None }));
            Ok::<_, Error>(())
        };
        file.follow(current, take).await;
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Credential, Error> {
    let text = str::from_utf8(bytes).map_err(|_| Error::NotText)?;
    let written: Written = yaml::read_secret(text)?;
    let token = written.security_token.map(Secret::new);
    Ok(Credential::read(written.ak, Secret::new(written.sk), token)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_whole_credential_or_none() {
        for (text, token) in [
            ("ak: A\nsk: s\n", None),
            ("\n\n{\"ak\": \"A\", \"sk\": \"s\", \"security_token\": \"t\"}\n\n", Some("t")),
            ("sk: s\nak: A\nsecurity_token: t", Some("t")),
        ] {
            let credential = parse(text.as_bytes()).unwrap();
            assert_eq!(credential.access_key_id(), "A", "{text}");
            assert_eq!(credential.security_token().map(|it| it.expose().as_str()), token);
        }
        for (text, message) in [
            ("", "1:1: a mapping is needed here"),
            ("- A\n- hunter2", "1:1: a mapping is needed here"),
            ("ak: A\n", "1:1: `sk` is missing"),
            ("ak: A\nsk: [hunter2]\n", "2:5: a text is needed here, and this is a list"),
            ("ak: A\nsk: hunter2\nsk: hunter3\n", "3:1: a field is here twice"),
            ("ak: A\nsk: hunter2\npassword: hunter2\n", "3:1: there is no such field here"),
            ("ak: A\nSK: hunter2\n", "2:1: there is no such field here (did you mean `sk`?)"),
            ("ak: A\nsk: ''\n", "the secret access key is empty"),
            ("ak: 'A B'\nsk: hunter2\n", "the access key ID must be"),
            ("ak: A\nsk: \"hunter2\\n\"\n", "without blanks or line ends"),
            ("ak: A\nsk: 'hunter 2'\n", "without blanks or line ends"),
            ("ak: A\nsk: \"hunter2\\0\"\n", "without blanks or line ends"),
            ("ak: A\nsk: hunter2\nsecurity_token: 'hunter2 hunter2'\n", "the security token must"),
            ("ak: A\nsk: \"hunter2\n", "this is not YAML"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
            assert!(!error.contains("hunter"), "{error}");
        }
        assert_eq!(parse(b"ak: A\nsk: \xff").unwrap_err().to_string(), "it is not UTF-8");
    }
}
