//! The `lychgate` binary.

fn main() {}
