//! Kleene's three truth values.

/// Whether something holds. The order makes `and` the minimum and `or` the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Truth {
    /// It does not.
    False,
    /// It depends on facts that are unavailable.
    Unknown,
    /// It does.
    True,
}

impl Truth {
    /// The word for reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::False => "no",
            Self::Unknown => "unknown",
            Self::True => "yes",
        }
    }

    /// True if every one is; stops at the first false.
    pub(in crate::policy) fn all(them: impl IntoIterator<Item = Self>) -> Self {
        let mut res = Self::True;
        for it in them {
            res = res.min(it);
            if res == Self::False {
                break;
            }
        }
        res
    }

    /// True if any one is; stops at the first true.
    pub(in crate::policy) fn any(them: impl IntoIterator<Item = Self>) -> Self {
        let mut res = Self::False;
        for it in them {
            res = res.max(it);
            if res == Self::True {
                break;
            }
        }
        res
    }
}

impl From<bool> for Truth {
    fn from(it: bool) -> Self {
        match it {
            true => Self::True,
            false => Self::False,
        }
    }
}
