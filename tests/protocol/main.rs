//! The wire formats, seen from outside: fixtures (wire text beside its meaning), properties, and floods.
#![expect(clippy::expect_used, reason = "a test says what it expects")]

mod attachments;
mod engineio;
mod floods;
mod properties;
mod socketio;
