//! Hobnob: chat, presence and notifications for any Socket.IO client, in one binary with an embedded database.
//!
//! The layers, each of which may use those above it and none below (`tests/tidy.rs` proves it):
//!
//! ```text
//! ids clock codes    newtypes; the only reader of time; the public error codes
//! setting            secrets and lists, for the modules' `Config` structs
//! protocol           bytes <-> packets, state machines; no I/O
//! telemetry http storage
//!                    log output; the HTTP kit; the tables and the one way to write them
//! transport          polling and WebSocket: one task per session drives protocol::engineio
//! server             Socket.IO core: namespaces, sockets, rooms, acks, broadcast; ignorant of chat
//! features           one room per feature: conversations, messages, missed_messages, ...
//! reference          the documents of events and routes, printed from what is declared
//! admin              health and version
//! config app cli     settings; what starts in which order; the commands
//! ```

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod codes;
pub mod config;
pub mod features;
pub mod http;
pub mod ids;
pub mod protocol;
pub mod reference;
pub mod server;
pub mod setting;
pub mod storage;
pub mod telemetry;
pub mod transport;
