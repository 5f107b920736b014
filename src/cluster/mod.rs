//! The port through which broadcasts reach other nodes. With one node there are none: [`Single`].

/// A broadcast as other nodes need it: the namespace, the rooms, and the event before it is encoded.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// The namespace, with its slash.
    pub namespace: &'a str,
    /// The rooms addressed; empty means the whole namespace.
    pub rooms: &'a [&'a str],
    /// Rooms whose members get nothing.
    pub except: &'a [&'a str],
    /// The event's name.
    pub event: &'a str,
    /// Its arguments as JSON text.
    pub args: &'a [&'a str],
    /// Whether receivers may drop it.
    pub volatile: bool,
}

/// What carries broadcasts to the other nodes of a cluster.
pub trait Adapter: Send + Sync + 'static {
    /// Passes on a broadcast that this node has delivered to its own sockets. Must not block.
    fn publish(&self, broadcast: &Published<'_>);
}

/// The only node there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Single;

impl Adapter for Single {
    fn publish(&self, _: &Published<'_>) {}
}
