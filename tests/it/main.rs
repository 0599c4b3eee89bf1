//! The one integration test binary.

mod emulator;
mod policy_docs;
mod policy_library;
mod reference;
mod tidy;
