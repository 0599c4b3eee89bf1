//! What holds where the configuration file says nothing.

use super::{Attributes, Limits, PerPrincipal, PoolTypes, Settle, Timeouts};
use crate::attributes::PoolWords;
use crate::config::unit::Span;
use crate::gateway::Rate;
use crate::yaml::Spanned;

use std::time::Duration;

/// A default has no place in the file.
fn unwritten<T>(value: T) -> Spanned<T> {
    Spanned::nowhere(value)
}

impl Default for Attributes {
    fn default() -> Self {
        Self { max_age: unwritten(Span(Duration::from_secs(2))), pool_types: PoolTypes::default() }
    }
}

impl Default for PoolTypes {
    fn default() -> Self {
        let PoolWords { dedicated, public } = PoolWords::default();
        Self { dedicated, public }
    }
}

impl Default for Settle {
    fn default() -> Self {
        Self { window: Span(Duration::from_secs(15 * 60)) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: unwritten(512),
            per_principal: unwritten(PerPrincipal::default()),
            connections: unwritten(4096),
            connections_per_peer: unwritten(512),
        }
    }
}

impl Default for PerPrincipal {
    fn default() -> Self {
        let Rate { rate, burst } = Rate::default();
        Self { rate: unwritten(rate), burst: unwritten(burst) }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = |it| unwritten(Span(Duration::from_secs(it)));
        Self { connect: seconds(2), lookup: seconds(5), request: seconds(30), drain: seconds(25) }
    }
}
