//! The one integration test binary.

mod policy_library;
mod reference;
mod tidy;
