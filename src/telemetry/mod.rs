//! What the operator sees: log lines, metrics, and what stands in the way of the server's promises.
//!
//! Log: `tracing` events on standard error and, with `log.dir`, in a file per day. Whatever a client can put into a field
//! (event names, ids, user agents) is cut and loses its control characters, so that nobody can write lines or move the
//! cursor in somebody's terminal; a flood of lines of one kind is thinned out and counted. Nothing of the log can stop
//! the server.

mod config;
mod files;
mod format;
mod levels;
mod limit;
mod metrics;
mod obstacles;
mod output;
mod panics;

use std::{
    io::{self, IsTerminal as _},
    sync::{Arc, atomic::Ordering},
};

use thiserror::Error;
use tracing_subscriber::{
    layer::SubscriberExt as _,
    reload,
    util::{SubscriberInitExt as _, TryInitError},
};

pub use self::{
    config::{Config, Format},
    levels::{BadFilter, Levels, is_filter},
    metrics::{Counter, FAMILIES, FamilyDoc, Kind, Metrics, Sample},
    obstacles::Obstacles,
};
use self::{
    files::Files,
    format::Style,
    output::{Lost, Output},
};

/// The target of lines about single connections and events: off unless `log.socket_events` is set, but for warnings, which tell of
/// refusals.
pub const SOCKET_EVENTS: &str = "socket_events";

/// Why logging could not be started.
#[derive(Debug, Error)]
pub enum InitError {
    /// It has been started already.
    #[error(transparent)]
    Twice(#[from] TryInitError),
    /// The first log file cannot be written.
    #[error("cannot write a log file in the directory of `log.dir`: {0}")]
    File(#[source] io::Error),
}

/// The running log. Clones share it.
#[derive(Clone, Debug)]
pub struct Logging {
    levels: Levels,
    files: Arc<Files>,
    lost: Arc<Lost>,
}

/// Starts logging. To be called once.
///
/// # Errors
///
/// When logging has been started already, or `log.dir` cannot be written. A filter that cannot be read counts as `info`;
/// [`is_filter`] tells beforehand.
pub fn init(config: &Config) -> Result<Logging, InitError> {
    let style = match config.format {
        Format::Auto | Format::Text if io::stderr().is_terminal() => coloured(),
        Format::Text => Style::Plain,
        Format::Auto | Format::Json => Style::Json,
    };
    let lost = Arc::<Lost>::default();
    let files = Arc::new(Files::new(Arc::clone(&lost)));
    files.use_dir(config.dir.as_deref(), config.keep_days).map_err(InitError::File)?;
    let (filter, caps) = levels::initial(config);
    let (filter, filters) = reload::Layer::new(filter);
    let (caps, all_caps) = reload::Layer::new(caps);
    let output = Output::new(style, output::stderr(), Arc::clone(&files), Arc::clone(&lost));
    tracing_subscriber::registry().with(filter).with(caps).with(output).try_init()?;
    panics::log();
    let levels = Levels::new(config, move |filter, caps| {
        // They fail only when the subscriber is gone, and then there is nothing to filter.
        filters.reload(filter).unwrap_or_default();
        all_caps.reload(caps).unwrap_or_default();
    });
    Ok(Logging { levels, files, lost })
}

impl Logging {
    /// The handle that changes levels.
    #[must_use]
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Takes levels and files of `config`; the format stays. The file is opened anew in any case, for those who move it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened: the old one stays in use then, the levels are changed.
    pub fn reload(&self, config: &Config) -> io::Result<()> {
        self.levels.reset(config);
        self.files.use_dir(config.dir.as_deref(), config.keep_days)
    }

    /// Lines that were not written since the start, by the reason.
    #[must_use]
    pub fn lost(&self) -> [(&'static str, u64); 3] {
        let Lost { suppressed, overflow, failed } = &*self.lost;
        [("suppressed", suppressed), ("overflow", overflow), ("failed", failed)]
            .map(|(reason, counter)| (reason, counter.load(Ordering::Relaxed)))
    }

    /// Waits until the lines so far are in the file, for a short time at most. To be called before the process ends.
    pub fn flush(&self) {
        self.files.flush();
    }
}

fn coloured() -> Style {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_unwanted { Style::Plain } else { Style::Coloured }
}
