//! The rules of status.
