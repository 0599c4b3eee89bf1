//! The one integration test binary.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod admin;
mod collector;
mod emulator;
mod head;
mod http2;
mod policy_docs;
mod policy_library;
mod reference;
mod server;
mod telemetry;
mod findings;
mod tidy;
mod toy;
