//! From the queue into the log: which entries are appended, and under which identity.

use bytes::Bytes;

use super::{
    ledger::{self, Verdict},
    own::{Part, Payload, Pending},
    replica::Replica,
    wire,
};
use crate::storage::{
    batch::Batch,
    error::StorageError,
    inbox::{MAX_WAITING, Submitted},
};

/// Most own entries that are appended and not applied. What is submitted meanwhile becomes the next entry.
const MAX_UNDER_WAY: usize = 8;

impl Replica {
    /// Lets go of entries that the log has by now, and makes the first of the others one that would count. None is under way.
    pub(super) async fn set_in_order(&mut self) -> Result<(), StorageError> {
        if self.own.verdict(&self.config.node, &self.ledger) == Verdict::Next {
            return Ok(());
        }
        let node = self.config.node.clone();
        while let Some(front) = self.own.entries.front()
            && self.ledger.judge(&node, front.identity) == Verdict::Seen
        {
            let identity = front.identity;
            if let Some(Payload::Spooled { number, .. }) = self.own.take(identity).map(|pending| pending.payload) {
                let mut batch = Batch::new();
                batch.delete(&ledger::SPOOL, &number);
                self.local.store(batch, Box::new(|_| ()));
            }
        }
        match self.own.verdict(&node, &self.ledger) {
            Verdict::Next => {}
            // It may still count when what is missing before it arrives late. Not behind an entry of a fresh incarnation.
            Verdict::Gap => {
                self.own.incarnate(&node, &self.ledger);
                let identity = self.own.next(&node, &self.ledger);
                let payload = Payload::Held(wire::encode(&node, identity, [].iter()));
                self.own.entries.push_front(Pending { identity, payload, parts: Vec::new() });
            }
            Verdict::Seen | Verdict::Stale => self.renumber().await?,
        }
        self.tell_spool();
        Ok(())
    }

    /// Makes all entries those of a fresh incarnation: under their old identities they will never count.
    async fn renumber(&mut self) -> Result<(), StorageError> {
        tracing::warn!(entries = self.own.entries.len(), "entries of this node are numbered anew");
        let snapshot = self.current.load()?;
        self.own.incarnate(&self.config.node, &self.ledger);
        for index in 0..self.own.entries.len() {
            let Some(pending) = self.own.entries.get_mut(index) else { break };
            let Some(bytes) = pending.payload.read(&snapshot)? else { continue };
            let identity = self.own.next(&self.config.node, &self.ledger);
            let Some(pending) = self.own.entries.get_mut(index) else { break };
            pending.identity = identity;
            let Ok(renumbered) = wire::renumber(&bytes, identity) else { continue };
            match pending.payload {
                Payload::Held(_) => pending.payload = Payload::Held(renumbered),
                Payload::Spooled { number, .. } => {
                    let mut batch = Batch::new();
                    ledger::put_raw(&mut batch, &ledger::SPOOL, &number, &renumbered);
                    let permit = self.room_for(renumbered.len()).await;
                    self.local.store(batch, Box::new(move |_| drop(permit)));
                }
            }
        }
        self.local.flush().await;
        Ok(())
    }

    /// The next own entries, as many as may be appended now.
    pub(super) fn next_entries(&mut self) -> Result<Vec<Bytes>, StorageError> {
        let mut entries = Vec::new();
        while self.own.under_way < MAX_UNDER_WAY {
            if let Some(pending) = self.own.entries.get(self.own.under_way) {
                // The first entry of an incarnation counts whatever came before: it must not overtake.
                let first = self.own.entries.front().unwrap_or(pending);
                if first.identity.incarnation != pending.identity.incarnation {
                    break;
                }
                let entry = pending.payload.read(&*self.current.load()?)?;
                entries.push(entry.ok_or(StorageError::Damaged { table: ledger::SPOOL.name() })?);
                self.own.under_way += 1;
                continue;
            }
            if !self.takes_more() {
                break;
            }
            let taken = self.queue.take();
            if taken.is_empty() {
                break;
            }
            self.make_entry(taken);
        }
        Ok(entries)
    }

    /// Whether something is taken from the queue now: all that came before is under way, and not too much of that. What only reads
    /// waits behind an entry; more of it than that stays in the queue, which has a limit.
    pub(super) fn takes_more(&self) -> bool {
        let own = &self.own;
        let has_room = own.entries.back().is_none_or(|last| last.parts.len() <= MAX_WAITING);
        has_room && own.under_way < MAX_UNDER_WAY && own.under_way == own.entries.len()
    }

    /// Makes an entry of what was submitted. What only reads goes to no other node, but keeps its turn.
    fn make_entry(&mut self, taken: Vec<Submitted>) {
        let (mut batches, mut parts) = (Vec::new(), Vec::new());
        for mut submitted in taken {
            if let Some(refusal) = submitted.batch.take_refusal() {
                (submitted.job)(Err(refusal));
            } else if submitted.batch.writes() {
                batches.push(submitted.batch);
                parts.push(Part::Batch(submitted.job));
            } else if !parts.is_empty() {
                parts.push(Part::Read(submitted));
            } else if let Some(before) = self.own.entries.back_mut() {
                before.parts.push(Part::Read(submitted));
            } else {
                self.local.submit(submitted);
            }
        }
        if !batches.is_empty() {
            self.add_entry(&batches, parts);
        }
    }

    /// Puts an entry behind the others of this node.
    pub(super) fn add_entry(&mut self, batches: &[Batch], parts: Vec<Part>) {
        let identity = self.own.next(&self.config.node, &self.ledger);
        let entry = wire::encode(&self.config.node, identity, batches.iter());
        self.own.entries.push_back(Pending { identity, payload: Payload::Held(entry), parts });
    }
}
