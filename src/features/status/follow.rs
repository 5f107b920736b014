//! What users choose on other nodes, and who comes and goes there.

use super::{Statuses, store::STATUSES};

impl Statuses {
    /// Tells the sockets of this node what is chosen on others. Every node tells its own.
    pub fn follow(&self) {
        let this = self.clone();
        self.store.watch(&STATUSES, move |user, record| this.chose(&user, record.unwrap_or_default()));
    }
}
