//! A reader that catches up by cursor after every restart, and keeps what it has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    checker::{Conversation, Place, Stored},
    load::place,
    support::client::Client,
};

/// What a reader has, and how far it has come.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    cursors: BTreeMap<String, u64>,
    messages: BTreeMap<String, Vec<Stored>>,
}

impl Reader {
    /// Reads everything after the cursors, in pages of `limit`.
    pub async fn catch_up(&mut self, client: &Client, limit: usize) {
        let missed = client.missed(json!(self.cursors), limit).await;
        let (messages, changes, cursors) = missed.expect("the server lives");
        for message in &messages {
            let conversation = message["conversationId"].as_str().expect("an id").to_owned();
            self.messages.entry(conversation).or_default().push(stored(message));
        }
        for change in &changes {
            self.apply(change);
        }
        self.cursors = serde_json::from_value(cursors).expect("cursors");
    }

    /// An edit or a deletion of a message that this reader has already.
    fn apply(&mut self, change: &Value) {
        let id = change["messageId"].as_str().expect("an id");
        let conversation = change["conversationId"].as_str().expect("an id");
        let messages = self.messages.get_mut(conversation).expect("its messages came first");
        let known = messages.iter_mut().rev().find(|stored| stored.place.id == id);
        let known = known.unwrap_or_else(|| panic!("a change of an unknown message: {change}"));
        if change["event"] == "message:updated" {
            *known = stored(change);
        } else if !known.deleted {
            known.deleted = true;
            known.text.clear();
        }
    }

    /// Where a message is, for each message of a sender's key.
    pub fn find(&self, conversation: &str, client_id: &str) -> Option<&Place> {
        let messages = self.messages.get(conversation)?;
        messages.iter().rev().find(|stored| stored.client_id == client_id).map(|stored| &stored.place)
    }

    /// Everything that it has.
    pub fn conversations(&self) -> BTreeMap<String, Conversation> {
        let with_head = |(id, head): (&String, &u64)| {
            let messages = self.messages.get(id).cloned().unwrap_or_default();
            (id.clone(), Conversation { messages, head: *head })
        };
        self.cursors.iter().map(with_head).collect()
    }
}

/// A message object.
fn stored(message: &Value) -> Stored {
    let text = |name: &str| message[name].as_str().expect("a text").to_owned();
    let deleted = message["deleted"] == true;
    if !deleted {
        assert_eq!(message["data"]["sender"], message["senderId"], "{message}");
    }
    Stored {
        place: place(message),
        sender: text("senderId"),
        client_id: text("clientId"),
        text: text("content"),
        rev: message["rev"].as_u64().expect("a number"),
        deleted,
    }
}
