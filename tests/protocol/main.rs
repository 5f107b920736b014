//! The wire formats, seen from outside: fixtures (wire text beside its meaning), properties, floods; requests and sessions by the
//! byte against a live server, broken ones among them; and what a client proves by what it sends.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report, in its helpers, too"
)]

mod attachments;
mod deflate;
mod engineio;
mod floods;
mod jsonp;
mod msgpack;
mod mutations;
mod namespaces;
mod polling;
mod proof;
mod properties;
mod recovery;
mod requests;
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
mod upgrade;
mod wire;
