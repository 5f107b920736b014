//! The wire formats, seen from outside.
