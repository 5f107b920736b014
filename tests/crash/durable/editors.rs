//! People who lock messages and set their status for as long as the server lives; and what is held after it has come back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::locks::{self, Choice, Grant, Seen, Slot, Wish};
use crate::support::client::Client;

/// They edit the same messages.
pub const EDITORS: [&str; 2] = ["kim", "lee"];
/// Holds nothing, and asks for everything to see who does.
pub const PROBE: &str = "mia";

/// The order of what happens, for everybody.
pub type Ticks = Arc<AtomicU64>;

fn tick(ticks: &Ticks) -> u64 {
    ticks.fetch_add(1, Ordering::SeqCst)
}

/// Some messages and the locks on them.
#[derive(Clone)]
pub struct Desk {
    pub slots: Vec<Slot>,
    pub grants: Vec<Grant>,
    pub ticks: Ticks,
}

/// An answer, unless nobody knows what has become of the request.
fn answer(ack: Option<Value>) -> Option<Value> {
    ack.filter(|ack| ack["code"] != "unavailable")
}

fn fence(ack: &Value) -> u64 {
    assert_eq!(ack["ok"], true, "{ack}");
    ack["fence"].as_u64().expect("a number")
}

impl Desk {
    /// Works until the server is gone.
    pub async fn edit(mut self, clients: Vec<Client>, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        while self.step(&clients, &mut random).await.is_some() {}
        self
    }

    async fn step(&mut self, clients: &[Client], random: &mut StdRng) -> Option<()> {
        let index = random.random_range(0..self.slots.len());
        let slot = &mut self.slots[index];
        let message = json!({"messageId": slot.message});
        let who = random.random_range(0..EDITORS.len());
        match slot.held {
            None => {
                slot.wish = Some(Wish::Lock(EDITORS[who]));
                let asked = tick(&self.ticks);
                let ack = answer(clients[who].call("message:lock", &message).await)?;
                self.grants.push(Grant { fence: fence(&ack), asked, given: tick(&self.ticks) });
                (slot.wish, slot.held) = (None, Some((EDITORS[who], fence(&ack))));
            }
            Some((holder, _)) if holder != EDITORS[who] => {
                let ack = answer(clients[who].call("message:lock", &message).await)?;
                assert_eq!((&ack["code"], &ack["lockedBy"]), (&json!("locked"), &json!(holder)), "{ack}");
            }
            Some((_, number)) if random.random_ratio(1, 4) => {
                let ack = answer(clients[who].call("message:lock", &message).await)?;
                assert_eq!(fence(&ack), number, "a renewal keeps its number");
            }
            Some(_) => {
                slot.wish = Some(Wish::Unlock);
                let ack = answer(clients[who].call("message:unlock", &message).await)?;
                assert_eq!(ack["ok"], true, "{ack}");
                (slot.wish, slot.held) = (None, None);
            }
        }
        Some(())
    }

    /// Looks at every lock after a start: the probe asks for it, and its holder renews it.
    pub async fn check(&mut self, clients: &[Client], probe: &Client) {
        let mut all = Vec::new();
        for slot in &self.slots {
            let message = json!({"messageId": slot.message});
            let ack = probe.call("message:lock", &message).await.expect("the server lives");
            if ack["ok"] == true {
                probe.ok("message:unlock", message).await;
                all.push((Seen::Free, Some(ack)));
                continue;
            }
            assert_eq!(ack["code"], "locked", "{ack}");
            let by = ack["lockedBy"].as_str().expect("a user").to_owned();
            let seen = match EDITORS.iter().position(|editor| *editor == by) {
                Some(who) => Seen::Held { by, fence: fence(&clients[who].ok("message:lock", message).await) },
                None => Seen::Held { by, fence: 0 },
            };
            all.push((seen, None));
        }
        let (seen, probed): (Vec<Seen>, Vec<Option<Value>>) = all.into_iter().unzip();
        assert_eq!(locks::check(&self.slots, &seen, &self.grants), [""; 0]);
        for ack in probed.iter().flatten() {
            // Asked for after all the others; two probes go one after the other.
            let asked = tick(&self.ticks);
            self.grants.push(Grant { fence: fence(ack), asked, given: tick(&self.ticks) });
        }
        for (slot, seen) in self.slots.iter_mut().zip(&seen) {
            let holder = |by: &str| EDITORS.iter().find(|editor| **editor == by).copied().expect("checked");
            slot.held = match seen {
                Seen::Free => None,
                Seen::Held { by, fence } => Some((holder(by), *fence)),
            };
            slot.wish = None;
        }
        assert_eq!(locks::check(&self.slots, &seen, &self.grants), [""; 0], "the numbers of the probe");
    }
}

/// A status and the text beside it.
pub type Chosen = (String, Option<String>);

/// Somebody with a status.
pub struct Person {
    pub user: &'static str,
    pub choice: Choice<Chosen>,
    pub changes: usize,
}

fn chosen(answer: &Value) -> Chosen {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    (text(&answer["status"]).expect("a status"), text(&answer["customStatus"]["message"]))
}

impl Person {
    pub fn new(user: &'static str) -> Self {
        Self { user, choice: Choice { acked: ("online".to_owned(), None), asked: None }, changes: 0 }
    }

    /// Changes until the server is gone.
    pub async fn change(mut self, client: Client, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        loop {
            self.changes += 1;
            let (mut status, mut text) = self.choice.acked.clone();
            let mut wish = json!({});
            if random.random_ratio(2, 3) {
                ["online", "away", "busy", "dnd", "offline"][random.random_range(0..5)].clone_into(&mut status);
                wish["status"] = json!(status);
            }
            if random.random_ratio(2, 3) {
                text = random.random_ratio(4, 5).then(|| format!("{} {}", self.user, self.changes));
                wish["customStatus"] = json!(text.as_ref().map(|text| json!({"message": text, "emoji": "🌱"})));
            }
            if wish == json!({}) {
                continue;
            }
            self.choice.asked = Some((status, text));
            let Some(ack) = answer(client.call("status:set", &wish).await) else { return self };
            assert_eq!(ack["ok"], true, "{ack}");
            assert_eq!(Some(chosen(&ack)), self.choice.asked, "{wish}");
            self.choice.acked = self.choice.asked.take().expect("asked for");
        }
    }

    /// Looks at it after a start.
    pub async fn check(&mut self, address: SocketAddr) {
        let client = Client::connect(address, self.user).await;
        let statuses = client.ok("status:get", json!({"userIds": [self.user]})).await;
        let seen = chosen(&statuses["statuses"][self.user]);
        assert!(self.choice.allows(&seen), "{} has {seen:?}: {:?}", self.user, self.choice);
        self.choice = Choice { acked: seen, asked: None };
    }
}
