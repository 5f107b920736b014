//! The subscriber's last layer: every event that passed the filters becomes a line on standard error and in the file of the day.

use std::{
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{
    Event, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use super::{
    files::Files,
    format::{self, Style},
    limit::Limiter,
};
use crate::clock;

/// Lines that were not written, since the start.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// One too many of their kind.
    pub(super) suppressed: AtomicU64,
    /// The queue for the file was full.
    pub(super) overflow: AtomicU64,
    /// The operating system refused: a full disk, a closed pipe.
    pub(super) failed: AtomicU64,
}

impl Lost {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where lines for standard error go; another place in tests.
type Stream = Box<dyn Fn(&[u8]) -> io::Result<()> + Send + Sync>;

/// Writes lines. It never fails: what cannot be written is counted.
pub(super) struct Output {
    style: Style,
    stream: Stream,
    file_style: Style,
    files: Arc<Files>,
    limiter: Limiter,
    lost: Arc<Lost>,
}

/// The fields of a span, ready for a line.
struct SpanFields {
    stream: String,
    file: String,
}

impl Output {
    pub(super) fn new(style: Style, stream: Stream, files: Arc<Files>, lost: Arc<Lost>) -> Self {
        let file_style = if style == Style::Json { Style::Json } else { Style::Plain };
        Self { style, stream, file_style, files, limiter: Limiter::default(), lost }
    }

    fn fields(&self, record: impl Fn(Style) -> String) -> SpanFields {
        SpanFields { stream: record(self.style), file: record(self.file_style) }
    }
}

/// Standard error, line by line.
pub(super) fn stderr() -> Stream {
    Box::new(|line| io::stderr().lock().write_all(line))
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Output {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(self.fields(|style| format::fields(style, attributes)));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            let SpanFields { stream, file } = self.fields(|style| format::fields(style, values));
            fields.stream.push_str(&stream);
            fields.file.push_str(&file);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(suppressed) = self.limiter.admit(event, clock::now()) else {
            return Lost::count(&self.lost.suppressed);
        };
        let (mut stream, mut file) = (String::new(), String::new());
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                stream.push_str(&fields.stream);
                file.push_str(&fields.file);
            }
        }
        let line = format::line(self.style, event, &stream, suppressed);
        // A closed pipe must not turn a log line into a panic.
        if (self.stream)(line.as_bytes()).is_err() {
            Lost::count(&self.lost.failed);
        }
        if self.files.are_open() {
            let same = self.file_style == self.style;
            self.files.write(if same { line } else { format::line(self.file_style, event, &file, suppressed) });
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// What `log` writes.
    pub(in crate::telemetry) fn logged(style: Style, log: impl FnOnce()) -> String {
        let lines = Arc::<Mutex<Vec<u8>>>::default();
        let sink = Arc::clone(&lines);
        let stream: Stream = Box::new(move |line| {
            sink.lock().expect("no panic").extend_from_slice(line);
            Ok(())
        });
        let lost = Arc::<Lost>::default();
        let output = Output::new(style, stream, Arc::new(Files::new(Arc::clone(&lost))), lost);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(output), log);
        let bytes = lines.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{testing::logged, *};

    #[tokio::test(start_paused = true)]
    async fn lines_of_a_kind_are_limited_and_the_rest_is_counted() {
        let refuse = |code: &str| tracing::warn!(code, "refused");
        let text = logged(Style::Plain, || {
            for _ in 0..50 {
                refuse("forbidden");
            }
            refuse("locked");
        });
        assert_eq!(text.matches("code=forbidden").count(), 10);
        assert_eq!(text.matches("code=locked").count(), 1, "another kind has its own count");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_line_tells_how_many_were_left_out() {
        let lost = Arc::<Lost>::default();
        let lines = Arc::<std::sync::Mutex<String>>::default();
        let sink = Arc::clone(&lines);
        let stream: Stream = Box::new(move |line| {
            sink.lock().expect("no panic").push_str(&String::from_utf8_lossy(line));
            Ok(())
        });
        let output = Output::new(Style::Json, stream, Arc::new(Files::new(Arc::clone(&lost))), Arc::clone(&lost));
        let subscriber = tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), output);
        let _guard = tracing::subscriber::set_default(subscriber);
        let refuse = || tracing::warn!("the same again");
        for _ in 0..13 {
            refuse();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        refuse();
        refuse();
        let text = lines.lock().expect("no panic").clone();
        let told: Vec<_> = text.lines().map(|line| line.contains(r#""suppressed":3"#)).collect();
        assert_eq!(told, [[false; 10].as_slice(), &[true, false]].concat());
        assert_eq!(lost.suppressed.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn lines_that_were_asked_for_are_not_limited() {
        let text = logged(Style::Plain, || {
            for _ in 0..50 {
                tracing::info!(target: crate::telemetry::SOCKET_EVENTS, "Socket event received");
                tracing::debug!("detail");
            }
        });
        assert_eq!(text.lines().count(), 100);
    }

    #[test]
    fn a_stream_that_fails_is_counted_and_nothing_else() {
        let lost = Arc::<Lost>::default();
        let stream: Stream = Box::new(|_| Err(io::ErrorKind::StorageFull.into()));
        let output = Output::new(Style::Json, stream, Arc::new(Files::new(Arc::clone(&lost))), Arc::clone(&lost));
        let subscriber = tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), output);
        tracing::subscriber::with_default(subscriber, || tracing::info!("x"));
        assert_eq!(lost.failed.load(Ordering::Relaxed), 1);
    }
}
