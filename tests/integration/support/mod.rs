//! What the modules share.

pub mod command;
pub mod serving;
