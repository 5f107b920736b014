//! Which handler serves which event of a namespace.

use std::{collections::HashMap, sync::Arc};

use prometheus_client::metrics::counter::Counter;

use super::{ClientEvent, ClientEventDoc, Event, Handler, Middleware, Namespace, Refusal, Reply, Socket, event::typed};
use crate::telemetry::Metrics;

/// The handlers of one namespace, by event name.
#[derive(Default)]
pub struct Routes {
    handlers: HashMap<&'static str, Served>,
    documented: Vec<ClientEventDoc>,
}

/// A handler, and the present name of what it serves: limits and metrics go by that.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) name: &'static str,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) received: Counter,
}

impl Routes {
    /// No handlers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a typed event and its older names: decodes, calls, answers `{ok:true, ...}` or the refusal.
    #[must_use]
    pub fn on<E, F, R>(mut self, handle: F) -> Self
    where
        E: ClientEvent,
        F: Fn(Arc<Socket>, E) -> R + Send + Sync + 'static,
        R: Future<Output = Result<E::Ack, Refusal>> + Send + 'static,
    {
        let handler: Arc<dyn Handler> = Arc::new(typed::<E, F, R>(handle));
        self.documented.push(ClientEventDoc::of::<E>());
        let served = Served { name: E::NAME, handler, received: Counter::default() };
        let names = std::iter::once(&E::NAME).chain(E::ALIASES);
        names.fold(self, |routes, name| routes.insert(name, served.clone()))
    }

    /// Serves an event as it comes.
    #[must_use]
    pub fn on_raw(
        self,
        name: &'static str,
        handle: impl Fn(&Arc<Socket>, &Event<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.insert(name, Served { name, handler: Arc::new(handle), received: Counter::default() })
    }

    /// The names served, in no order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.handlers.keys().copied()
    }

    /// The typed events, for the generated documents.
    #[must_use]
    pub fn documented(&self) -> &[ClientEventDoc] {
        &self.documented
    }

    fn insert(mut self, name: &'static str, served: Served) -> Self {
        let before = self.handlers.insert(name, served);
        debug_assert!(before.is_none(), "two handlers for {name}");
        self
    }
}

/// A namespace with what serves it.
pub(super) struct Route {
    pub(super) namespace: Arc<Namespace>,
    pub(super) middleware: Arc<dyn Middleware>,
    pub(super) handlers: HashMap<&'static str, Served>,
}

impl Route {
    pub(super) fn new(
        namespace: Arc<Namespace>,
        middleware: Arc<dyn Middleware>,
        routes: Routes,
        metrics: &Metrics,
    ) -> Self {
        let mut handlers = routes.handlers;
        for served in handlers.values_mut() {
            served.received = metrics.event(Some(served.name));
        }
        Self { namespace, middleware, handlers }
    }
}
