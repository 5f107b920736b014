//! The `hobnob` command.

fn main() {}
