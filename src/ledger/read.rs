//! From the lines on disk back to records: recovery, verification, reading along.

pub(super) mod cursor;
pub(super) mod glance;
pub(super) mod past;
pub(super) mod reader;
pub(super) mod recover;
pub(super) mod scan;
pub(super) mod seen;
pub(super) mod tail;
pub(super) mod verify;
