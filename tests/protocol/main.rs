//! The wire formats, seen from outside: fixtures (wire text beside its meaning), properties, floods; and what a client proves by
//! what it sends.
#![expect(clippy::expect_used, reason = "a test says what it expects")]

mod attachments;
mod deflate;
mod engineio;
mod floods;
mod proof;
mod properties;
mod recovery;
mod socketio;
#[allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test program uses its own part, and in a test a panic is the report"
)]
#[path = "../support/mod.rs"]
mod support;
