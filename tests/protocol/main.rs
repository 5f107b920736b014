//! The wire formats, seen from outside: fixtures (wire text beside its meaning), properties, floods; and what a client proves by
//! what it sends.
#![expect(clippy::expect_used, reason = "a test says what it expects")]

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
