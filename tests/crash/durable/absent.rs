//! Members who come and go: each visit reads what the server sends by itself, and answers heartbeats or does not.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use hobnob::clock;
use serde_json::{Value, json};

use super::queue::{Arrival, Visit};
use crate::{
    load::place,
    support::{packets::Packets, token},
};

/// How long a visit may take that ends by itself.
const PATIENCE: Duration = Duration::from_secs(25);

/// How a member behaves on one visit.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Reads up to the marks and says what has arrived.
    Confirm,
    /// Reads up to the marks, and until the transport has proved it.
    Prove,
    /// Reads so many messages, or fewer, and is gone instead of answering a heartbeat behind them.
    Vanish(usize),
    /// Reads until the server ends.
    Stay,
}

/// A connection, being read.
struct Reading {
    packets: Packets,
    visit: Visit,
    /// What has arrived, by conversation.
    reached: BTreeMap<String, u64>,
    /// What had arrived at the heartbeats that were answered last, by the number of the event sent behind the answer: its ack says that
    /// the server has read the answer.
    proofs: BTreeMap<u64, BTreeMap<String, u64>>,
    calls: u64,
    answers: bool,
    /// A heartbeat was not answered: nothing more may come.
    is_mute: bool,
}

/// Connects, reads and goes. A visit of [`Way::Confirm`] or [`Way::Prove`] ends when it has got the message with each of these texts, one in
/// each conversation; both fail if the server ends before.
pub async fn come(address: SocketAddr, user: String, marks: BTreeMap<String, String>, way: Way) -> Visit {
    let mut packets = Packets::open(address).await;
    packets.send(&format!("40{{\"token\":\"{}\"}}", token::of(&user))).await;
    // Heartbeats are so close together that one may come before.
    packets.until("40{\"sid\"").await;
    let answers = !matches!(way, Way::Vanish(_));
    let (visit, reached, proofs) = (Visit::default(), BTreeMap::new(), BTreeMap::new());
    let mut reading = Reading { packets, visit, reached, proofs, calls: 0, answers, is_mute: false };
    let mut waiting = marks.clone();
    let begin = clock::now();
    while reading.next().await {
        let waits = !matches!(way, Way::Stay) && clock::now().saturating_duration_since(begin) > PATIENCE;
        let (reached, proved) = (&reading.reached, &reading.visit.proved);
        assert!(!waits, "{user} waits for {waiting:?} ({way:?}); got up to {reached:?}, proved {proved:?}");
        if let Some(last) = reading.visit.arrivals.last()
            && waiting.get(&last.conversation) == Some(&last.text)
        {
            waiting.remove(&last.conversation);
        }
        let done = match way {
            Way::Stay => false,
            Way::Vanish(count) => reading.is_mute || reading.visit.arrivals.len() >= count,
            Way::Confirm => waiting.is_empty(),
            Way::Prove => waiting.is_empty() && marks.iter().all(|(id, text)| reading.has_proved(id, text)),
        };
        if done {
            if matches!(way, Way::Confirm) {
                reading.confirm().await;
            }
            return reading.visit;
        }
    }
    assert!(matches!(way, Way::Stay), "the server ended before {user} had everything");
    reading.visit
}

impl Reading {
    /// Reads one packet. False at the end.
    async fn next(&mut self) -> bool {
        let Some(packet) = self.packets.next().await else { return false };
        if packet == "2" && !self.answers && !self.visit.arrivals.is_empty() {
            self.is_mute = true;
        } else if packet == "2" {
            self.calls += 1;
            self.proofs.insert(self.calls, self.reached.clone());
            self.packets.send("3").await;
            self.packets.send(&format!("42{}[\"heartbeat\",{{}}]", self.calls)).await;
        } else if let Some(event) = packet.strip_prefix("42") {
            self.event(&serde_json::from_str(event).expect("an array"));
        } else if let Some(ack) = packet.strip_prefix("43") {
            let number = ack.split('[').next().and_then(|number| number.parse().ok()).expect("a number");
            if let Some(proved) = self.proofs.remove(&number) {
                self.visit.proved = proved;
            }
        }
        true
    }

    fn event(&mut self, event: &Value) {
        let (name, payload) = (&event[0], &event[1]);
        if name != "message:new" {
            return;
        }
        let text = |field: &str| payload[field].as_str().expect("a text").to_owned();
        let arrival = Arrival {
            conversation: text("conversationId"),
            place: place(payload),
            text: text("content"),
            redelivered: payload["redelivered"] == true,
        };
        assert_eq!(payload["changeSeq"], payload["seq"], "{payload}");
        self.reached.insert(arrival.conversation.clone(), arrival.place.seq);
        self.visit.arrivals.push(arrival);
    }

    fn has_proved(&self, conversation: &str, text: &str) -> bool {
        let is_mark = |arrival: &&Arrival| arrival.conversation == conversation && arrival.text == text;
        let mark = self.visit.arrivals.iter().rev().find(is_mark);
        let proved = self.visit.proved.get(conversation);
        mark.is_some_and(|mark| proved.is_some_and(|proved| *proved >= mark.place.seq))
    }

    /// Says what has arrived.
    async fn confirm(&mut self) {
        for (conversation, seq) in self.reached.clone() {
            self.calls += 1;
            let wish = json!(["message:delivered", {"conversationId": conversation, "upToSeq": seq}]);
            self.packets.send(&format!("42{}{wish}", self.calls)).await;
            let start = format!("43{}[", self.calls);
            let ack = loop {
                let packet = self.packets.next().await.expect("the server lives");
                if packet.starts_with(&start) {
                    break packet;
                }
            };
            assert!(ack.contains(r#""ok":true"#), "{ack}");
            self.visit.confirmed.insert(conversation, seq);
        }
    }
}
