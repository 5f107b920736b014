//! Alone: what may wait is spooled, shown and answered; the rest is refused.

use super::{
    ledger,
    own::{Part, Payload, Pending},
    replica::Replica,
    status::ReplicaState,
    wire,
};
use crate::storage::{
    batch::Batch,
    error::CommitError,
    inbox::{How, Submitted},
};

impl Replica {
    /// Goes on alone. Every entry that is not in the log for certain goes to the spool under the identity that it has, so that it counts
    /// once, whatever became of it; its batches that may wait are shown and answered, the fate of the others is unknown.
    pub(super) async fn degrade(&mut self, state: ReplicaState) {
        self.set_state(state);
        if self.is_degraded {
            return;
        }
        tracing::warn!("this node has lost the shared log: it goes on alone");
        self.is_degraded = true;
        for index in 0..self.own.entries.len() {
            self.keep(index).await;
        }
        self.tell_spool();
    }

    /// Takes some of what waits, in order.
    pub(super) async fn serve_alone(&mut self) {
        let (mut batches, mut parts) = (Vec::new(), Vec::new());
        for mut submitted in self.queue.take() {
            if let Some(refusal) = submitted.batch.take_refusal() {
                (submitted.job)(Err(refusal));
            } else if !submitted.batch.writes() {
                parts.push(Part::Read(submitted));
            } else if submitted.batch.is_patient() && self.own.spooled_bytes < self.config.spool_max_bytes {
                batches.push(submitted.batch);
                parts.push(Part::Batch(submitted.job));
            } else {
                (submitted.job)(Err(CommitError::Degraded));
            }
        }
        self.spool(&batches, parts).await;
    }

    /// Spools one entry of these batches.
    async fn spool(&mut self, batches: &[Batch], parts: Vec<Part>) {
        if batches.is_empty() {
            for part in parts {
                if let Part::Read(submitted) = part {
                    self.local.submit(submitted);
                }
            }
            return;
        }
        self.add_entry(batches, parts);
        self.keep(self.own.entries.len() - 1).await;
        self.tell_spool();
    }

    /// Puts an entry into the spool, unless it is there, and then shows its batches.
    async fn keep(&mut self, index: usize) {
        let Some(Pending { payload, parts, .. }) = self.own.entries.get_mut(index) else { return };
        let parts = std::mem::take(parts);
        let entry = match payload {
            Payload::Held(entry) => {
                let entry = entry.clone();
                let number = self.own.spool(entry.len());
                let mut batch = Batch::new();
                ledger::put_raw(&mut batch, &ledger::SPOOL, &number, &entry);
                let permit = self.room_for(entry.len()).await;
                self.local.store(batch, Box::new(move |_| drop(permit)));
                if let Some(pending) = self.own.entries.get_mut(index) {
                    pending.payload = Payload::Spooled { number, bytes: entry.len() };
                }
                Some(entry)
            }
            // When it cannot be read, the database has failed, which is told elsewhere.
            Payload::Spooled { .. } => {
                self.current.load().ok().and_then(|snapshot| payload.read(&snapshot).ok().flatten())
            }
        };
        let Some(entry) = entry.and_then(|entry| wire::decode(&entry, &mut self.names).ok()) else { return };
        self.show(entry.batches, parts);
    }

    /// Shows the batches that may wait, on top of what is stored.
    fn show(&self, batches: Vec<Batch>, parts: Vec<Part>) {
        let mut batches = batches.into_iter();
        let mut shown = Vec::new();
        for part in parts {
            match part {
                Part::Read(submitted) => shown.push(submitted),
                Part::Batch(job) => match batches.next() {
                    Some(batch) if batch.is_patient() => {
                        shown.push(Submitted { batch, job, how: How::Provisional });
                    }
                    // It may be in the log.
                    Some(_) | None => job(Err(CommitError::Unavailable)),
                },
            }
        }
        let rest = batches.filter(Batch::is_patient);
        shown.extend(rest.map(|batch| Submitted { batch, job: Box::new(|_| ()), how: How::Provisional }));
        self.local.submit_all(shown);
    }
}
