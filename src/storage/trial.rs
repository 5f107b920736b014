//! The file while it is being opened: what redb writes is held in memory until all has proved to be sound.
//!
//! redb repairs and marks a file on opening it, before it can know that all of it is good. A database that cannot be
//! opened must stay as it is, for whoever has to save what can be saved.

use std::{
    io,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{BackendError, StorageBackend, backends::FileBackend};

/// A file that does not change before [`release`](Self::release). Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Trial(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: FileBackend,
    is_released: AtomicBool,
    held: Mutex<Vec<Change>>,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Sync,
}

impl Trial {
    pub(crate) fn new(file: FileBackend) -> Self {
        Self(Arc::new(Shared { file, is_released: AtomicBool::new(false), held: Mutex::default() }))
    }

    /// Makes the changes held so far, in their order, and lets all later ones through. A crash in between is one that
    /// redb could have had at the same point.
    pub(crate) fn release(&self) -> io::Result<()> {
        let mut held = self.held();
        for change in held.drain(..) {
            match change {
                Change::Write { offset, data } => self.0.file.write(offset, &data)?,
                Change::SetLen(len) => self.0.file.set_len(len)?,
                Change::Sync => self.0.file.sync_data()?,
            }
        }
        self.0.is_released.store(true, Ordering::Release);
        Ok(())
    }

    /// Holds a change; false when it is to be made at once.
    fn hold(&self, change: impl FnOnce() -> Change) -> bool {
        if self.is_released() {
            return false;
        }
        self.held().push(change());
        true
    }

    fn is_released(&self) -> bool {
        self.0.is_released.load(Ordering::Acquire)
    }

    fn held(&self) -> MutexGuard<'_, Vec<Change>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Trial {
    fn len(&self) -> io::Result<u64> {
        let mut len = self.0.file.len()?;
        if !self.is_released() {
            for change in &*self.held() {
                match change {
                    Change::Write { offset, data } => len = len.max(offset + data.len() as u64),
                    Change::SetLen(new) => len = *new,
                    Change::Sync => {}
                }
            }
        }
        Ok(len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.is_released() {
            return self.0.file.read(offset, out);
        }
        let end = offset + out.len() as u64;
        if end > self.len()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let in_file = self.0.file.len()?.clamp(offset, end) - offset;
        let (old, new) = out.split_at_mut(index(in_file));
        self.0.file.read(offset, old)?;
        new.fill(0);
        for change in &*self.held() {
            match change {
                Change::Write { offset: start, data } => overlay(offset, out, *start, data),
                Change::SetLen(len) => {
                    let kept = len.clamp(&offset, &end) - offset;
                    if let Some(cut) = out.get_mut(index(kept)..) {
                        cut.fill(0);
                    }
                }
                Change::Sync => {}
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.hold(|| Change::SetLen(len)) { Ok(()) } else { self.0.file.set_len(len) }
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.hold(|| Change::Sync) { Ok(()) } else { self.0.file.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let held = self.hold(|| Change::Write { offset, data: data.to_vec() });
        if held { Ok(()) } else { self.0.file.write(offset, data) }
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

/// Copies what `data`, at `start`, has of the bytes of `out`, at `offset`.
fn overlay(offset: u64, out: &mut [u8], start: u64, data: &[u8]) {
    let (skip_out, skip_data) = (start.saturating_sub(offset), offset.saturating_sub(start));
    let out = out.get_mut(index(skip_out)..).unwrap_or_default();
    let data = data.get(index(skip_data)..).unwrap_or_default();
    out.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
}

/// A place in a buffer; beyond every buffer when the file is larger than the address space.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
