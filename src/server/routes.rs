//! Which handler serves which event of a namespace.

use std::{collections::HashMap, sync::Arc};

use super::{ClientEvent, Event, Handler, Middleware, Namespace, Refusal, Reply, Socket, event::typed};

/// The handlers of one namespace, by event name.
#[derive(Default)]
pub struct Routes {
    handlers: HashMap<&'static str, Arc<dyn Handler>>,
}

impl Routes {
    /// No handlers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a typed event and its older names: decodes, calls, answers `{ok:true, ...}` or the refusal.
    #[must_use]
    pub fn on<E, F, R>(self, handle: F) -> Self
    where
        E: ClientEvent,
        F: Fn(Arc<Socket>, E) -> R + Send + Sync + 'static,
        R: Future<Output = Result<E::Ack, Refusal>> + Send + 'static,
    {
        let handler: Arc<dyn Handler> = Arc::new(typed::<E, F, R>(handle));
        let names = std::iter::once(&E::NAME).chain(E::ALIASES);
        names.fold(self, |routes, name| routes.insert(name, Arc::clone(&handler)))
    }

    /// Serves an event as it comes.
    #[must_use]
    pub fn on_raw(
        self,
        name: &'static str,
        handle: impl Fn(&Arc<Socket>, &Event<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.insert(name, Arc::new(handle))
    }

    /// The names served, in no order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.handlers.keys().copied()
    }

    fn insert(mut self, name: &'static str, handler: Arc<dyn Handler>) -> Self {
        let before = self.handlers.insert(name, handler);
        debug_assert!(before.is_none(), "two handlers for {name}");
        self
    }
}

/// A namespace with what serves it.
pub(super) struct Route {
    pub(super) namespace: Arc<Namespace>,
    pub(super) middleware: Arc<dyn Middleware>,
    pub(super) handlers: HashMap<&'static str, Arc<dyn Handler>>,
}

impl Route {
    pub(super) fn new(namespace: Arc<Namespace>, middleware: Arc<dyn Middleware>, routes: Routes) -> Self {
        Self { namespace, middleware, handlers: routes.handlers }
    }
}
