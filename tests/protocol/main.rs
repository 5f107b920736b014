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
mod mutations;
mod namespaces;
mod polling;
mod proof;
mod properties;
mod requests;
mod socketio;
mod upgrade;
mod wire;
