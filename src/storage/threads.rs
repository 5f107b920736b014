//! The threads behind an open database, and how they end.

use std::{
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle, ThreadId},
};

use tokio::sync::watch;

use super::{
    inbox::{Ending, Inbox, Submitted},
    publisher,
    snapshot::Current,
    writer::{Health, Writer},
};

/// A database with its writer and its publisher.
pub(crate) struct Threads {
    inbox: Arc<Inbox>,
    health: watch::Receiver<Health>,
    writer: Mutex<Option<JoinHandle<()>>>,
    publisher: ThreadId,
}

impl Threads {
    /// Starts the threads on an open database. `lock` is dropped when it is closed again.
    pub(crate) fn start(writer: Writer, lock: Option<File>) -> io::Result<(Self, Arc<Current>)> {
        let current = writer.current();
        let inbox = Arc::new(Inbox::default());
        let (health, watched) = watch::channel(Health::Open);
        let (outcomes, publisher) = publisher::start()?;
        let publisher_id = publisher.thread().id();
        let work = {
            let inbox = Arc::clone(&inbox);
            move || {
                writer.run(&inbox, &outcomes, &health);
                drop(outcomes);
                // Jobs do not panic, and there is nobody left to tell.
                drop(publisher.join());
                drop(lock);
                health.send_if_modified(|health| {
                    let was_open = *health == Health::Open;
                    if was_open {
                        *health = Health::Closed;
                    }
                    was_open
                });
            }
        };
        let writer = thread::Builder::new().name("store-writer".to_owned()).spawn(work)?;
        Ok((Self { inbox, health: watched, writer: Mutex::new(Some(writer)), publisher: publisher_id }, current))
    }

    pub(crate) fn submit(&self, submitted: Submitted) {
        self.inbox.submit(submitted);
    }

    /// Like [`submit`](Self::submit) for batches that belong together; none of them is dropped for lack of room.
    pub(crate) fn submit_all(&self, all: Vec<Submitted>) {
        self.inbox.submit_all(all);
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Ends the threads after what has been submitted, and files everything.
    pub(crate) async fn close(&self) {
        self.inbox.end(Ending::Clean);
        // An error means that the writer is gone.
        drop(self.health().wait_for(|health| *health != Health::Open).await);
    }
}

/// Without a close, what has been submitted is still committed, and the next start finds it in the journal.
impl Drop for Threads {
    fn drop(&mut self) {
        self.inbox.end(Ending::Abandoned);
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // So that the file can be opened again at once; but a thread cannot wait for itself.
        if let Some(writer) = writer {
            let this = thread::current().id();
            if this != self.publisher && this != writer.thread().id() {
                drop(writer.join());
            }
        }
    }
}
