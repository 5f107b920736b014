//! What the modules share.

pub mod command;
