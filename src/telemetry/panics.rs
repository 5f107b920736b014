//! A panic becomes a log line.

use std::panic::{self, PanicHookInfo};

/// Logs panics where they happen, in one line.
///
/// Only texts that are part of the program are told: one that was put together may hold what a client sent, as those about
/// slices do. Whoever looks for the mistake sets `RUST_BACKTRACE` and gets everything on standard error.
pub(super) fn log() {
    let tell_all = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        tell(info);
        if tell_all {
            before(info);
        }
    }));
}

fn tell(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or_default().to_owned();
    let text = info.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(text, location, thread, "panicked");
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::telemetry::{format::Style, output::testing::logged};

    #[test]
    fn a_panic_is_told_without_what_clients_sent() {
        let line = logged(Style::Json, || {
            // As the hook does; the hook itself belongs to the whole process.
            let fail = |text: &str| {
                let hook = panic::take_hook();
                panic::set_hook(Box::new(tell));
                let private = text.to_owned();
                catch_unwind(AssertUnwindSafe(|| panic!("no such user: {private}"))).expect_err("a panic");
                catch_unwind(|| panic!("a mistake of ours")).expect_err("a panic");
                panic::set_hook(hook);
            };
            fail("private");
        });
        assert!(line.contains(r#""message":"panicked""#) && line.contains("src/telemetry/panics.rs:"), "{line}");
        assert!(line.contains("a mistake of ours") && !line.contains("private"), "{line}");
    }
}
