//! The events of the offline queue. What waits comes as the events it would have come as: `message:new` and the like.

use schemars::JsonSchema;
use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::value::RawValue;

use crate::{
    features::messages::MessageView,
    server::{ServerEvent, ServerEventDoc},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] =
    &[ServerEventDoc::of::<QueueTruncated>(), ServerEventDoc::of::<QueuedMessages<'_>>()];

/// Some of what the user has missed does not come by itself: it was too old or too much; to a socket that connects. The history of the
/// conversations has it, unless `messages.retention_s` has taken it from there as well.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueTruncated {
    /// How many changes these are.
    pub dropped: u64,
}

impl ServerEvent for QueueTruncated {
    const NAME: &'static str = "queue:truncated";
}

/// The messages of one page of the queue once more, for clients of the reference app; each came as `message:new` just before. To a
/// socket that connects.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueuedMessages<'a> {
    /// The messages, oldest first.
    #[serde(serialize_with = "raw")]
    #[schemars(with = "Vec<MessageView>")]
    pub messages: &'a [&'a str],
    /// How many there are.
    pub count: usize,
}

impl ServerEvent for QueuedMessages<'_> {
    const NAME: &'static str = "queued-messages";
}

/// Texts that are JSON already.
fn raw<S: Serializer>(messages: &&[&str], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(messages.len()))?;
    for message in *messages {
        let message: &RawValue = serde_json::from_str(message).map_err(serde::ser::Error::custom)?;
        list.serialize_element(message)?;
    }
    list.end()
}
