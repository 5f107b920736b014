//! Notifications are made, read and deleted for as long as the server lives, and looked at after it has come back.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::notes::{self, Did, Kept, Note, Shelf};
use crate::support::{client::Client, http, token};

/// How long what the server makes by itself may take after a start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whoever makes notifications for one user.
pub struct Bell {
    pub user: &'static str,
    pub notes: Vec<Note>,
    /// Tells it from others that do so, and notifications so far: for the titles.
    number: usize,
    made: usize,
}

/// Makes one for `user`, as the app's backend does. The id and whether it was made before, unless the server is gone.
async fn make(address: SocketAddr, key: &str, user: &str, title: &str) -> Option<String> {
    let headers = [("X-Api-Key", key), ("Content-Type", "application/json"), ("Idempotency-Key", title)];
    let body = json!({"userId": user, "type": "system", "title": title, "message": "text", "data": {"title": title}});
    let path = "/api/server/notifications";
    let answer = http::request_if_alive(address, "POST", path, &headers, body.to_string().as_bytes()).await?;
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    if answer.status == 503 {
        return None;
    }
    assert_eq!(answer.status, 201, "{answer:?}");
    Some(body["notification"]["id"].as_str().expect("an id").to_owned())
}

/// Whether it was done; `None` when nobody knows.
fn done(ack: Option<Value>) -> Option<()> {
    let ack = ack.filter(|ack| ack["code"] != "unavailable")?;
    assert_eq!(ack["ok"], true, "{ack}");
    Some(())
}

impl Bell {
    pub fn new(user: &'static str, number: usize) -> Self {
        Self { user, notes: Vec::new(), number, made: 0 }
    }

    fn note(&mut self, kind: &str, repeatable: bool) -> &mut Note {
        self.made += 1;
        let title = format!("{kind}-{}-{}.{}", self.user, self.number, self.made);
        let user = self.user.to_owned();
        self.notes.push(Note { user, title, made: Did::Asked, id: None, read: Did::No, gone: Did::No, repeatable });
        self.notes.last_mut().expect("just made")
    }

    /// Works until the server is gone.
    pub async fn ring(mut self, address: SocketAddr, key: String, (own, other): (Client, Client), seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        while self.step(address, &key, (&own, &other), &mut random).await.is_some() {}
        self
    }

    /// One wish; `None` when it got no answer.
    async fn step(
        &mut self,
        address: SocketAddr,
        key: &str,
        (own, other): (&Client, &Client),
        random: &mut StdRng,
    ) -> Option<()> {
        match random.random_range(0..10) {
            0..5 => {
                let user = self.user;
                let note = self.note("backend", true);
                note.id = Some(make(address, key, user, &note.title).await?);
                note.made = Did::Acked;
            }
            5 => {
                let user = self.user;
                let note = self.note("group", false);
                let group = json!({"type": "group", "participants": [user], "name": note.title});
                done(other.call("conversation:create", &group).await)?;
                note.made = Did::Acked;
            }
            wish => {
                let known = |note: &&mut Note| note.id.is_some() && note.gone == Did::No;
                let candidates: Vec<_> = self.notes.iter_mut().rev().take(40).filter(known).collect();
                let count = candidates.len().max(1);
                let Some(note) = candidates.into_iter().nth(random.random_range(0..count)) else { return Some(()) };
                let id = json!({"notificationId": note.id});
                if wish < 8 {
                    // It may have been read before, and that holds.
                    note.read = if note.read == Did::Acked { Did::Acked } else { Did::Asked };
                    done(own.call("notification:read", &id).await)?;
                    note.read = Did::Acked;
                } else {
                    note.gone = Did::Asked;
                    done(own.call("notification:delete", &id).await)?;
                    note.gone = Did::Acked;
                }
            }
        }
        Some(())
    }

    /// Looks at what is kept after a start, as soon as all of it is there; then asks again for what got no answer.
    pub async fn check(&mut self, address: SocketAddr, key: &str) {
        let auth = json!({"token": token::of(self.user)});
        let mut client = Client::join(address, "/notifications", auth).await.expect("admitted");
        let shelves = self.complete(address, &mut client).await;
        for note in self.notes.iter_mut().filter(|note| note.made == Did::Asked && note.repeatable) {
            let before = shelves[self.user].kept.iter().find(|kept| kept.title == note.title);
            let id = make(address, key, self.user, &note.title).await.expect("the server lives");
            assert!(before.is_none_or(|before| before.id == id), "{note:?} was made anew as {id}");
            (note.id, note.made) = (Some(id), Did::Acked);
        }
        let shelves = self.complete(address, &mut client).await;
        notes::settle(&mut self.notes, &shelves);
    }

    /// What is kept. Notifications that follow from something else are made afterwards: each one that comes is a reason to look again.
    async fn complete(&self, address: SocketAddr, client: &mut Client) -> BTreeMap<String, Shelf> {
        loop {
            let shelves = BTreeMap::from([(self.user.to_owned(), self.shelf(address, client).await)]);
            let findings = notes::check(&self.notes, &shelves);
            if findings.is_empty() {
                return shelves;
            }
            let again = timeout(PATIENCE, client.event("notification:new")).await;
            assert!(again.is_ok(), "{findings:#?}");
        }
    }

    async fn shelf(&self, address: SocketAddr, client: &Client) -> Shelf {
        let mut seen = Shelf::default();
        let mut cursor = Value::Null;
        loop {
            let page = client.ok("notifications:list", json!({"limit": 100, "cursor": cursor})).await;
            for row in page["notifications"].as_array().expect("a list") {
                let text = |field: &str| row[field].as_str().expect("a text").to_owned();
                seen.kept.push(Kept { id: text("id"), title: text("title"), read: text("status") == "read" });
            }
            cursor = page["nextCursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        let unread = client.ok("notifications:unread", json!({})).await;
        let token = token::of(self.user);
        let path = "/api/notifications/unread-count";
        let over_rest = http::call(address, &token, "GET", path, &Value::Null).await.json();
        seen.unread.extend([&unread["count"], &over_rest["count"]].map(|count| count.as_u64().expect("a number")));
        seen
    }
}
