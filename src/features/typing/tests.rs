//! The rules of typing.
