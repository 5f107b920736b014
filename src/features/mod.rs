//! One room per feature.

pub mod auth;
pub mod messages;
pub mod missed_messages;
