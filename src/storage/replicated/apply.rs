//! From the log onto the disk: which entries count, and who is told of them.

use bytes::Bytes;

use super::{
    ledger::{self, Verdict},
    own::{Part, Payload, Pending},
    replica::{Left, Replica},
    shared_log::Place,
    wire::{self, Entry, WireError},
};
use crate::storage::{
    batch::Batch,
    inbox::{How, Submitted},
    publisher::Outcome,
};

impl Replica {
    /// Stores what the entry says, if it counts, and that it was seen.
    pub(super) async fn apply(&mut self, (place, bytes): (Place, Bytes)) -> Result<(), Left> {
        if place <= self.place() {
            return Ok(());
        }
        let entry = match wire::decode(&bytes, &mut self.names) {
            Ok(entry) => Some(entry),
            Err(WireError::Damaged) => {
                tracing::error!(%place, "the shared log has an entry that no node can read: it is passed over");
                None
            }
            Err(error @ WireError::Version(_)) => {
                tracing::error!(%place, %error, "this server is older than another node: it has to be replaced");
                return Err(Left::Failed);
            }
        };
        let verdict = entry.as_ref().map(|entry| self.ledger.judge(&entry.author, entry.identity));
        let counts = entry.as_ref().filter(|_| verdict == Some(Verdict::Next));
        let mut system = Batch::new();
        let counted = counts.map(|entry| (entry.author.as_str(), entry.identity));
        self.ledger.advance((place, &bytes), counted, &mut system);
        let is_ours = entry.as_ref().is_some_and(|entry| entry.author == self.config.node);
        // It does not count although it is wanted: one before it was lost, or another process uses this node's name.
        let is_lost = is_ours
            && matches!(verdict, Some(Verdict::Gap | Verdict::Stale))
            && entry.as_ref().is_some_and(|entry| self.own.has(entry.identity));
        let mut unit = match entry.filter(|_| verdict == Some(Verdict::Next)) {
            Some(entry) => self.unit(entry, is_ours, &mut system),
            None => Vec::new(),
        };
        let permit = self.room_for(bytes.len()).await;
        let status = self.status.clone();
        let job = Box::new(move |_| {
            status.send_modify(|status| status.applied = place);
            drop(permit);
        });
        unit.push(Submitted { batch: system, job, how: How::Alone });
        self.local.submit_all(unit);
        if is_lost { Err(Left::Lost) } else { Ok(()) }
    }

    /// The batches of an entry that counts, each with what is to be called.
    fn unit(&mut self, entry: Entry, is_ours: bool, system: &mut Batch) -> Vec<Submitted> {
        let pending = if is_ours { self.own.take(entry.identity) } else { None };
        let Some(Pending { payload, parts, .. }) = pending else { return self.foreign_unit(entry) };
        if let Payload::Spooled { number, .. } = payload {
            system.delete(&ledger::SPOOL, &number);
            self.tell_spool();
        }
        let mut batches = entry.batches.into_iter();
        let mut unit = Vec::new();
        for part in parts {
            match part {
                Part::Read(submitted) => unit.push(Submitted { how: How::WithNext, ..submitted }),
                Part::Batch(job) => {
                    unit.extend(batches.next().map(|batch| Submitted { batch, job, how: How::WithNext }));
                }
            }
        }
        for batch in batches {
            // Those who wanted it have been answered before.
            let status = self.status.clone();
            let job = Box::new(move |outcome: Outcome| {
                if outcome.is_err() {
                    status.send_modify(|status| status.spool_conflicts += 1);
                }
            });
            unit.push(Submitted { batch, job, how: How::WithNext });
        }
        unit
    }

    /// Of another node, or of this one before a crash: nobody on this node has been told.
    fn foreign_unit(&self, entry: Entry) -> Vec<Submitted> {
        let unit = entry.batches.into_iter().map(|batch| {
            let told = self.watchers.of(&batch);
            let job = Box::new(move |outcome: Outcome| {
                if let (Some(told), Ok(committed)) = (told, outcome) {
                    told(&committed);
                }
            });
            Submitted { batch, job, how: How::WithNext }
        });
        unit.collect()
    }
}
