//! The files of a policy directory, byte for byte as they were read, and their digest.

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The files of a policy directory by relative path, such as `guardrails/protect.json`, in the byte
/// order of the paths. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(Arc<BTreeMap<String, Vec<u8>>>);

impl Files {
    /// The bytes of one file.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }

    /// Paths and bytes, in the byte order of the paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
    }

    /// SHA-256 in lower-case hex, over the files in the byte order of their paths, each as: the path
    /// in UTF-8, a zero byte, the number of bytes as 64-bit big-endian, the bytes.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for (path, bytes) in self.iter() {
            context.update(path.as_bytes());
            context.update(&[0]);
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        }
        HEXLOWER.encode(context.finish().as_ref())
    }
}

impl<P: Into<String>, B: Into<Vec<u8>>> FromIterator<(P, B)> for Files {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        let files = files.into_iter().map(|(path, bytes)| (path.into(), bytes.into()));
        Self(Arc::new(files.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_over_path_length_and_bytes() {
        let digest = |files: &[(&str, &str)]| {
            files.iter().map(|(path, bytes)| (*path, *bytes)).collect::<Files>().digest()
        };
        // printf 'a\0\0\0\0\0\0\0\0\001xb\0\0\0\0\0\0\0\0\0' | sha256sum
        let expected = "c2f5a869a297306208aa880d8311741e8f11361ba51cc45273e57e6021b46585";
        assert_eq!(digest(&[("b", ""), ("a", "x")]), expected);
        assert_ne!(digest(&[("a", "xb"), ("b", "")]), digest(&[("a", "x"), ("bb", "")]));
        assert_ne!(digest(&[("a", "")]), digest(&[]));
    }
}
