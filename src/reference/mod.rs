//! The reference: what the server takes and sends, printed from what is declared, for programs and for people.
//!
//! `OpenAPI` for the routes, `AsyncAPI` and TypeScript types for the events, and `docs/events.md`. Nothing here knows a single event or
//! route: what a feature declares is in all of them by itself.
//!
//! Spec: contract, section 7, "Operators".

mod asyncapi;
mod markdown;
mod model;
mod openapi;
mod schemas;
#[cfg(test)]
mod tests;
mod typescript;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use hyper::{StatusCode, header};

use self::model::Model;
use crate::server::{Access, Endpoint, NamespaceDoc, Rest};

/// The version that the documents speak of.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Whoever has a document asks whether it has changed; an update of the server changes it.
const CACHING: &str = "public, no-cache";

/// The documents. Made once.
#[derive(Clone, Debug)]
pub struct Reference {
    openapi: Arc<Document>,
    asyncapi: Arc<Document>,
    types: Arc<Document>,
    events: Arc<str>,
}

/// A document as it is served.
#[derive(Debug)]
struct Document {
    kind: &'static str,
    text: String,
    tag: String,
}

impl Reference {
    /// Prints the documents of these namespaces and routes, and of the routes of the documents themselves.
    #[must_use]
    pub fn new(namespaces: &[NamespaceDoc], endpoints: &[&[Endpoint]]) -> Self {
        let own = own_endpoints();
        let endpoints: Vec<_> = endpoints.iter().copied().flatten().chain(&own).collect();
        let model = Model::new(namespaces, &endpoints);
        Self {
            openapi: Document::new("application/json", openapi::print(&model)),
            asyncapi: Document::new("application/json", asyncapi::print(&model)),
            types: Document::new("text/plain; charset=utf-8", typescript::print(&model)),
            events: markdown::print(&model).into(),
        }
    }

    /// The REST routes, as `OpenAPI` 3.1.
    #[must_use]
    pub fn openapi(&self) -> &str {
        &self.openapi.text
    }

    /// The events, as `AsyncAPI` 3.0.
    #[must_use]
    pub fn asyncapi(&self) -> &str {
        &self.asyncapi.text
    }

    /// The events, as TypeScript types for the official client.
    #[must_use]
    pub fn types(&self) -> &str {
        &self.types.text
    }

    /// Events and routes for people: `docs/events.md`.
    #[must_use]
    pub fn events(&self) -> &str {
        &self.events
    }

    /// The routes of the documents.
    #[must_use]
    pub fn routes(&self) -> Rest {
        let documents = [&self.openapi, &self.asyncapi, &self.types];
        own_endpoints()
            .into_iter()
            .zip(documents)
            .fold(Rest::new(), |rest, (endpoint, document)| rest.on(endpoint, document, show))
    }
}

/// In the order of [`Reference::routes`].
fn own_endpoints() -> [Endpoint; 3] {
    [
        Endpoint::get("/openapi.json", "The REST routes, as OpenAPI 3.1."),
        Endpoint::get("/asyncapi.json", "The events, as AsyncAPI 3.0."),
        Endpoint::get("/types.d.ts", "The events, as TypeScript types for the official client."),
    ]
    .map(|endpoint| endpoint.access(Access::Anyone))
}

impl Document {
    fn new(kind: &'static str, text: String) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let tag = format!("\"{VERSION}-{:x}\"", hasher.finish());
        Arc::new(Self { kind, text, tag })
    }
}

/// Shows a document, unless the client has it already.
async fn show(State(document): State<Arc<Document>>, headers: HeaderMap) -> Response {
    let caching = [(header::ETAG, document.tag.clone()), (header::CACHE_CONTROL, CACHING.to_owned())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if known.is_some_and(|tags| tags.contains(&document.tag)) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, document.kind)], document.text.clone()).into_response()
}

/// The first paragraph of a description, on one line.
fn summary(text: &str) -> String {
    one_line(text.split("\n\n").next().unwrap_or_default())
}

/// A description on one line, links of rustdoc as plain code.
fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace("[`", "`").replace("`]", "`")
}
