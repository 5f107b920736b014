//! The publisher: tells what was committed, in the order of the commits, while the writer is at the next ones.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use tokio::{runtime::Handle, sync::oneshot};

use super::{batch::Committed, error::CommitError};

/// What is called with the outcome of a batch. It does not panic.
pub(crate) type Job = Box<dyn FnOnce(Outcome) + Send>;
pub(crate) type Outcome = Result<Committed, CommitError>;

/// Groups that are on disk and not yet told. When there are more the writer waits, and the inbox fills up.
const MAX_UNTOLD_GROUPS: usize = 8;

/// Where the writer puts the outcomes of a group.
pub(crate) type Outcomes = SyncSender<Vec<(Job, Outcome)>>;

/// Starts the thread that calls the jobs. It ends when the sender is dropped.
pub(crate) fn start() -> io::Result<(Outcomes, JoinHandle<()>)> {
    let (outcomes, groups) = sync_channel(MAX_UNTOLD_GROUPS);
    let runtime = Handle::try_current().ok();
    let thread =
        thread::Builder::new().name("store-publisher".to_owned()).spawn(move || run(&groups, runtime.as_ref()))?;
    Ok((outcomes, thread))
}

fn run(groups: &Receiver<Vec<(Job, Outcome)>>, runtime: Option<&Handle>) {
    // What follows a commit may start timers or tasks of the runtime that opened the store.
    let _entered = runtime.map(Handle::enter);
    for group in groups {
        for (job, outcome) in group {
            job(outcome);
        }
    }
}

/// A job that calls `then` after a commit and sends what came of it to `answer`.
pub(crate) fn job<T: Send + 'static>(
    then: impl FnOnce(&Committed) -> T + Send + 'static,
    answer: oneshot::Sender<Result<T, CommitError>>,
    panics: Arc<AtomicU64>,
) -> Job {
    Box::new(move |outcome| {
        let outcome = outcome.and_then(|committed| {
            catch_unwind(AssertUnwindSafe(|| then(&committed))).map_err(|_| {
                panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!("what follows a commit panicked; the batch itself is stored");
                CommitError::Unavailable
            })
        });
        // A dropped future is not interested in the answer.
        drop(answer.send(outcome));
    })
}
