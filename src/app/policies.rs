//! The policies in force in the form in which requests take them: together with their text for the
//! ledger, so that no decision can refer to a version that the ledger does not hold.

use crate::gateway::Version;
use crate::ledger::{self, Ledger};
use crate::reload::Policies;

use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Hands each version that comes into force to `versions`, until `stop`.
pub(super) async fn follow(
    mut policies: Policies,
    ledger: Ledger,
    versions: watch::Sender<Option<Arc<Version>>>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = policies.changed() => hand_over(&policies, &ledger, &versions),
        }
    }
}

/// Hands over the version that is in force now, if it is not the one before.
pub(super) fn hand_over(
    policies: &Policies,
    ledger: &Ledger,
    versions: &watch::Sender<Option<Arc<Version>>>,
) {
    let Some(set) = policies.current() else { return };
    let is_known = |it: &Arc<Version>| it.set.digest() == set.digest();
    if versions.borrow().as_ref().is_some_and(is_known) {
        return;
    }
    match ledger::Policies::new(&set).map(Arc::new) {
        Ok(recorded) => {
            ledger.loaded(&recorded);
            versions.send_replace(Some(Arc::new(Version { set, recorded })));
        }
        Err(error) => {
            tracing::error!(%error, "policies cannot be recorded; the version before stays in force");
        }
    }
}
