//! Bytes to packets and back, for Engine.IO and Socket.IO on top of it.
//!
//! Owns the wire formats and their limits. Pure: no I/O, no async, no clock, no log, and no panic on any input. It must
//! not know about sockets of the operating system, HTTP, users or chat; what a packet *does* is decided above.
#![warn(clippy::arithmetic_side_effects)]

pub mod engineio;
pub mod socketio;
