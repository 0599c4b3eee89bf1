//! Why a call to the cloud has no answer that can be used.

use super::answer::Answer;
use super::breaker::Shut;

use http::StatusCode;

/// Why a look-up found nothing out.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// Nothing was sent: the cloud refused our key before.
    #[error("the cloud refused the gate's key, and the breaker is open")]
    BreakerOpen,
    /// The cloud refuses our key, with this status.
    #[error("the cloud refuses the gate's key")]
    KeyRefused(StatusCode),
    /// There is no credential to sign with.
    #[error("no credential for the cloud")]
    NoCredential,
    /// The call failed, or took too long.
    #[error("no usable answer: {0}")]
    Failed(String),
    /// The cloud's own answer, which is neither the job nor that there is none.
    #[error("the cloud answered with status {}", .0.status)]
    Refused(Box<Answer>),
    /// An answer with another status than 200 that cannot be passed on.
    #[error("the cloud answered with status {0}")]
    Status(StatusCode),
}

/// Why a delete has no answer that can be passed on.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// Nothing was sent: the cloud refused our key before.
    #[error("the cloud refused the gate's key, and the breaker is open")]
    BreakerOpen,
    /// Nothing was sent: no connection.
    #[error("cannot connect")]
    Connect,
    /// The cloud refuses our key, with this status and under this request ID.
    #[error("the cloud refuses the gate's key")]
    KeyRefused(StatusCode, Option<String>),
    /// Nothing was sent: there is no credential to sign with.
    #[error("no credential for the cloud")]
    NoCredential,
    /// Nothing was sent: the permit is for something else.
    #[error("not permitted")]
    NotPermitted,
    /// Nothing was sent: no connection in time.
    #[error("no connection in time")]
    NotInTime,
    /// Nothing was sent: what was looked up would have been too old.
    #[error("the look-up is too old")]
    Stale,
    /// The request may have left, and no answer came.
    #[error("no answer")]
    Unanswered,
    /// An answer came that cannot be passed on, with this status and under this request ID.
    #[error("unusable answer with status {0}")]
    Unusable(StatusCode, Option<String>),
}

impl DeleteError {
    /// One word of a small set, for traces.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::BreakerOpen => "breaker_open",
            Self::Connect => "connect",
            Self::KeyRefused(..) => "key_refused",
            Self::NoCredential => "no_credential",
            Self::NotPermitted => "not_permitted",
            Self::NotInTime => "connect_timeout",
            Self::Stale => "stale",
            Self::Unanswered => "no_answer",
            Self::Unusable(..) => "unusable_answer",
        }
    }
}

impl From<Shut> for LookUpError {
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::BreakerOpen => Self::BreakerOpen,
            Shut::NoCredential => Self::NoCredential,
        }
    }
}

impl From<Shut> for DeleteError {
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::BreakerOpen => Self::BreakerOpen,
            Shut::NoCredential => Self::NoCredential,
        }
    }
}
