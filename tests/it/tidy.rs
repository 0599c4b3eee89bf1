//! Rules about the code itself that neither rustfmt nor clippy can express.
