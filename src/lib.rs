//! Lychgate: a gate in front of Huawei Cloud ModelArts that deletes a training job only after its
//! own policy has said yes. Modules are declared in suggested reading order.

pub mod exchange;
pub mod gateway;

pub mod forward;

pub mod route;

pub mod policy;

pub mod attributes;
pub mod authn;
pub mod budget;
pub mod credentials;
pub mod ledger;
pub mod reconcile;
pub mod reload;
pub mod replay;
pub mod upstream;

pub mod sign;

pub mod app;
pub mod cli;
pub mod config;
pub mod server;
pub mod telemetry;

pub mod client;
pub mod clock;
pub mod metrics;
pub mod mounted;
pub mod object;
pub mod secret;
pub mod text;
pub mod trouble;
pub mod yaml;

#[cfg(feature = "emulator")]
pub mod emulator;
