//! From a cluster back to a single node: the database forgets the log, and keeps everything that was acknowledged.

use super::{
    ledger::{self, AUTHORS, POSITION, RECENT, SPOOL},
    wire::{self, Names},
};
use crate::storage::{
    batch::Batch,
    error::StorageError,
    inbox::{How, Submitted},
    range::Direction,
    reader::Reader,
    writer::Writer,
};

/// Prepares a database for being written without the log. What is in the spool is stored, in order, as it would have been by the log.
/// If the node goes back to a cluster some day, it comes with rows that are from no log.
pub(crate) fn leave(writer: &mut Writer) -> Result<(), redb::Error> {
    let snapshot = writer.current().load().map_err(|_| redb::Error::DatabaseClosed)?;
    let reader = Reader::new(snapshot.clone());
    let unreadable = |error: StorageError| redb::Error::Corrupted(error.to_string());
    let position = reader.get(&POSITION, &0).map_err(unreadable)?;
    let spooled = ledger::spooled(&snapshot).map_err(unreadable)?;
    if position.is_none() && spooled.is_empty() {
        return Ok(());
    }
    // First of all: with it, the database would count as what the log has made of it.
    let mut forget = Batch::new();
    forget.delete(&POSITION, &0);
    for (author, _) in reader.scan(&AUTHORS, .., usize::MAX, Direction::Forward).map_err(unreadable)? {
        forget.delete(&AUTHORS, &author);
    }
    for place in ledger::recent_places(&snapshot).map_err(unreadable)? {
        forget.delete(&RECENT, &place);
    }
    writer.commit(vec![Submitted::new(forget, Box::new(|_| ()))])?;
    let mut names = Names::default();
    for (number, _, _) in spooled {
        let entry = ledger::spooled_entry(&snapshot, number).map_err(unreadable)?.unwrap_or_default();
        let entry = wire::decode(&entry, &mut names).map_err(|error| redb::Error::Corrupted(error.to_string()))?;
        let batches = entry.batches.into_iter();
        let mut unit: Vec<_> =
            batches.map(|batch| Submitted { batch, job: Box::new(|_| ()), how: How::WithNext }).collect();
        let mut done = Batch::new();
        done.delete(&SPOOL, &number);
        unit.push(Submitted::new(done, Box::new(|_| ())));
        writer.commit(unit)?;
    }
    tracing::info!("the database was that of a node of a cluster: it is on its own now");
    Ok(())
}
