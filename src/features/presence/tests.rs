//! The rules of presence.
