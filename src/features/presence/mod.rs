//! Who is online: who has a live socket in any namespace, or had one a moment ago ([`Config::offline_grace`]).
//!
//! Kept in memory and never read from anywhere: after a start nobody is online until somebody connects. When a user was last here is
//! stored once he has gone, when the server stops, and every few minutes while he is here, so that a crash costs minutes and no more.
//!
//! What others are shown of it is the business of `status`.
//!
//! Spec: contract, section 3.2, `user-online` and `user-offline`.

mod config;
mod rules;
mod store;
#[cfg(test)]
mod tests;

pub use self::{
    config::Config,
    rules::{Presence, Watcher},
};
