//! The main job, end to end, under faults, kills and reloads; the forwarder.

pub(crate) mod batch;
pub(crate) mod budgets;
pub(crate) mod crash;
pub(crate) mod faults;
pub(crate) mod forward;
pub(crate) mod gateway;
pub(crate) mod look;
pub(crate) mod postgres;
pub(crate) mod ready;
pub(crate) mod reload;
pub(crate) mod secrets;
pub(crate) mod stop;
pub(crate) mod telemetry;
pub(crate) mod told;
pub(crate) mod tombstones;
