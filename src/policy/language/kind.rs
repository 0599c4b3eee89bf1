//! What the values of a condition key are.

/// What the values of a key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Kind {
    Address,
    Boolean,
    Date,
    Number,
    Text,
}
