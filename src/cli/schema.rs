//! `hobnob schema`.

use clap::{Args, ValueEnum};

use super::output;
use crate::app::reference::reference;

/// Which document.
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Which one
    document: Document,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Document {
    /// The REST routes as OpenAPI 3.1
    Openapi,
    /// The events as AsyncAPI 3.0
    Asyncapi,
    /// The events as TypeScript types for the official client
    Types,
    /// Events and routes as a text for people
    Events,
}

impl Schema {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let reference = reference()?;
        match self.document {
            Document::Openapi => output::print(reference.openapi()),
            Document::Asyncapi => output::print(reference.asyncapi()),
            Document::Types => output::print(reference.types()),
            Document::Events => output::print(reference.events()),
        }
    }
}
