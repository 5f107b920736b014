//! The opaque cursor that leads to the next page.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, ids::ConversationId, server::Refusal};

/// Where the next page begins. Clients hand it back unread.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageCursor {
    /// How far each conversation has been read.
    #[serde(rename = "c")]
    pub(super) cursors: BTreeMap<ConversationId, u64>,
    /// The date that the first page was asked for by.
    #[serde(rename = "d", default)]
    pub(super) date: Option<Timestamp>,
    /// What was missing on the pages before.
    #[serde(rename = "t", default)]
    pub(super) truncated: BTreeMap<ConversationId, u64>,
}

impl PageCursor {
    pub(super) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn decode(text: &str) -> Result<Self, Refusal> {
        let json = URL_SAFE_NO_PAD.decode(text).ok();
        json.and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| Refusal::invalid("cursor", "expected the nextCursor of an earlier answer"))
    }
}
