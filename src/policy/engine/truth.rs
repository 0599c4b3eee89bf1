//! Kleene's three truth values.

/// True, false, or not known. The order makes `and` the minimum and `or` the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum Truth {
    False,
    Unknown,
    True,
}

impl Truth {
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
