//! Limits on what a policy directory may hold.

/// Limits on a policy directory. Exceeding one is an error of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of attachments.yaml.
    pub attachments_bytes: usize,
    /// Nesting of a document.
    pub depth: usize,
    /// Bytes of a document.
    pub document_bytes: usize,
    /// Documents in the directory.
    pub documents: usize,
    /// How many processes share each budget in equal parts; 1 if they do not share it like that.
    pub replicas: u32,
    /// Statements in a document.
    pub statements: usize,
    /// Bytes of a text in a document.
    pub text_bytes: usize,
    /// Values in a list.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attachments_bytes: 8 << 20,
            depth: 32,
            document_bytes: 256 << 10,
            documents: 20_000,
            replicas: 1,
            statements: 500,
            text_bytes: 2 << 10,
            values: 100,
        }
    }
}
