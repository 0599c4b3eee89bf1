//! What `serve` asks of the system for its own process: memory that nobody else can read, and
//! enough open files.

use rustix::process::{Resource, Rlimit};

/// Keeps the memory, which holds keys, from core dumps and from other processes of the same user.
/// Root can still read it.
pub(super) fn protect_memory() {
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "core dumps of this process may hold keys");
    }
}

/// How many of `wanted` connections there may be. Raises the limit on open files as far as the
/// system allows, and leaves at most half of them to connections: the ledger, the clouds and the
/// probes need the others when somebody opens connections without end.
pub(super) fn connections(wanted: usize) -> usize {
    let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let files = match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    let Some(files) = files else {
        return wanted;
    };
    let half = usize::try_from(files / 2).unwrap_or(usize::MAX);
    if half < wanted {
        tracing::warn!(
            limit = half,
            "limits.connections is lowered: the system allows too few open files"
        );
    }
    wanted.min(half)
}
