//! The key file: as written, then as checked. No message repeats what the file says, because the
//! wrong line may hold a secret.

use super::{Key, Keys, SOURCE};
use crate::authn::name;
use crate::policy::{Method, Principal};
use crate::secret::Secret;
use crate::sign::Credential;
use crate::yaml::{self, Fault, Faults, Spanned};

use serde::Deserialize;
use serde::de::Error;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The most keys of a gate.
const KEYS_MAX: usize = 10_000;

/// The most keys of one principal: the current one, and its predecessor or successor.
const KEYS_PER_PRINCIPAL_MAX: usize = 2;

/// The shortest secret, in bytes.
const SECRET_BYTES_MIN: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keys: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    ak: String,
    sk: String,
    principal: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

impl Keys {
    /// Reads the text of a key file, whole or not at all. No message holds a part of the file but
    /// for an access key ID or a principal's name.
    pub(super) fn parse(text: &str) -> Result<Self, Faults> {
        let file: File = yaml::read_secret(text)?;
        let mut keys = HashMap::with_capacity(file.keys.len());
        let mut principals: BTreeMap<String, Vec<Arc<Principal>>> = BTreeMap::new();
        for (index, Spanned { value, place }) in file.keys.into_iter().enumerate() {
            let fault = |message: String| Faults::from(Fault::custom(message).at(place));
            if KEYS_MAX <= index {
                return Err(fault(format!("a gate has at most {KEYS_MAX} keys")));
            }
            let key = value.check().map_err(fault)?;
            let siblings = principals.entry(key.principal.id().to_owned()).or_default();
            let name = key.principal.name();
            if siblings.iter().any(|it| *it != key.principal) {
                return Err(fault(format!("the keys of `{name}` differ in groups or tags")));
            }
            if KEYS_PER_PRINCIPAL_MAX <= siblings.len() {
                return Err(fault(format!("`{name}` has more than two keys")));
            }
            siblings.push(Arc::clone(&key.principal));
            let access_key_id = key.credential.access_key_id().to_owned();
            if keys.insert(access_key_id.clone(), key).is_some() {
                return Err(fault(format!("the key `{access_key_id}` is listed twice")));
            }
        }
        Ok(Self(keys))
    }
}

impl Entry {
    fn check(self) -> Result<Key, String> {
        let Self { ak, sk, principal, groups, tags } = self;
        name::check_principal(&principal, &groups, &tags)?;
        if sk.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "`sk` is shorter than {SECRET_BYTES_MIN} characters: make a pair with `lychgate \
                 keys create`"
            ));
        }
        let credential =
            Credential::read(ak, Secret::new(sk), None).map_err(|error| error.to_string())?;
        let principal = Principal::new(SOURCE, &principal, groups, tags, Method::Key);
        Ok(Key { credential, principal: Arc::new(principal) })
    }
}
