//! The one integration test binary, by what is looked at. `support` is what tests are made of: start a
//! whole gate with `support::world::World`, the real binary with `support::process` or `binary`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod front;
mod gate;
mod house;
mod ledger;
mod policy;
mod support;
mod upstream;
