//! What authors write: the files of a policy directory, their grammar, and the findings about
//! mistakes.

pub(super) mod attachments;
pub(super) mod diagnostic;
pub(super) mod document;
pub(super) mod files;
pub(super) mod json;
pub(super) mod key;
pub(super) mod kind;
pub(super) mod limits;
pub(super) mod operator;
pub(super) mod pattern;
pub(super) mod template;
pub(super) mod value;
pub(super) mod yaml;
pub(super) mod zone;

pub(super) use crate::text::suggest;
