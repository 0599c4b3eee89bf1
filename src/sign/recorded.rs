//! Requests as the official SDKs sent them, read from tests/data/sign. For tests only.

use super::Credential;
use crate::secret::Secret;

use http::request::Parts;
use serde::Deserialize;

/// One request as it stood on the wire.
#[derive(Debug, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    ak: String,
    sk: String,
    request: String,
    /// Whether the signature belongs to the request.
    pub(crate) matches: bool,
}

/// Requests of four unmodified SDKs.
pub(crate) fn recorded() -> Vec<Recorded> {
    serde_json::from_str(include_str!("../../tests/data/sign/recorded.json")).unwrap()
}

/// Edited copies of one good request.
pub(crate) fn tampered() -> Vec<Recorded> {
    serde_json::from_str(include_str!("../../tests/data/sign/tampered.json")).unwrap()
}

impl Recorded {
    pub(crate) fn credential(&self) -> Credential {
        Credential::new(self.ak.clone(), Secret::new(self.sk.clone()), None).unwrap()
    }

    /// The request's head, as a server hands it on, and its body.
    pub(crate) fn parts(&self) -> (Parts, &[u8]) {
        let (head, body) = self.request.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap().split(' ');
        let mut request =
            http::Request::builder().method(first.next().unwrap()).uri(first.next().unwrap());
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        (request.body(()).unwrap().into_parts().0, body.as_bytes())
    }
}
