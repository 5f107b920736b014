//! The `hobnob` command.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use hobnob::{app::exit::ExitError, cli};

/// Memory is taken by session tasks and given back by the store's threads all day long, which the C library's allocator is slow
/// at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Naming the module makes a missing cargo feature an error of the compiler; without it the first token would panic.
    let installed = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    debug_assert!(installed.is_ok(), "nothing else installs one");
    match cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let exit = error.downcast_ref::<ExitError>();
            let code = exit.map_or(hobnob::app::exit::ExitCode::Software as u8, |exit| exit.code);
            let line = format!("{error:#}").replace(['\r', '\n'], " ");
            // Nobody may be listening any more; the exit code still tells.
            writeln!(io::stderr(), "hobnob: {line}").unwrap_or_default();
            ExitCode::from(code)
        }
    }
}
