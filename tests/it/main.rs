//! The one integration test binary.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod admin;
mod answers;
mod attacks;
mod audit;
mod binary;
mod cli;
mod cloud;
mod cloud_tls;
mod collector;
mod config;
mod config_docs;
mod crash;
mod credentials;
mod deceit;
mod emulator;
mod engine;
mod faults;
mod findings;
mod forward;
mod frames;
mod gateway;
mod head;
mod http;
mod http2;
mod links;
mod listen;
mod numbers;
mod operations;
mod pki;
mod policy_compare;
mod policy_docs;
mod policy_library;
mod process;
mod reference;
mod regions;
mod reload;
mod secrets;
mod server;
mod settle;
mod ship;
mod siege;
mod sign;
mod stop;
mod telemetry;
mod tidy;
mod tls;
mod tokens;
mod toy;
mod world;
