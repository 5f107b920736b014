//! What can be seen from outside: a module per feature, and one for each command and promise of the process.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test a panic is the report, in its helpers, too"
)]
#![allow(unreachable_pub, reason = "the modules of one test program share what is in `support`")]

mod attacks;
mod bad_input;
mod cases;
mod cli;
mod config;
mod credentials;
mod crowds;
mod feature_document;
mod floods;
mod operations;
mod operator;
mod promises;
mod reference;
mod retention;
mod shutdown;
mod startup;
#[allow(dead_code, reason = "each test program uses its own part")]
#[path = "../support/mod.rs"]
mod support;
mod tokens;
