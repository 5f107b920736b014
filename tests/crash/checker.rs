//! The checker: what was sent and acknowledged against what is stored and what readers got. It knows nothing of servers.

use std::collections::{BTreeMap, HashMap};

/// A message that somebody wanted to send, and what was asked of it afterwards.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub sender: String,
    pub conversation: String,
    pub client_id: String,
    /// The text, then those of its edits, in the order asked for.
    pub texts: Vec<String>,
    /// How many of the texts were acknowledged.
    pub acked: usize,
    /// Whether a deletion was asked for, and acknowledged.
    pub deletion: Deletion,
    /// Where the ack said that it is stored.
    pub place: Option<Place>,
    /// Its place among what its sender sent and got an ack for; none when it had to be sent again after a crash.
    pub order: Option<u64>,
}

/// How far a deletion has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    No,
    Asked,
    Acked,
}

/// The id and the number of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub id: String,
    pub seq: u64,
}

/// A message as it was read from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub place: Place,
    pub sender: String,
    pub client_id: String,
    pub text: String,
    pub rev: u64,
    pub deleted: bool,
}

/// All messages of a conversation in the order in which they were read, and the number of its last change.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    pub messages: Vec<Stored>,
    pub head: u64,
}

/// What one connection got live of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub change_seq: u64,
    pub id: String,
    pub kind: Kind,
}

/// The kinds of live events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    New { seq: u64, text: String },
    Updated { text: String },
    Deleted,
}

/// Everything that is checked.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub attempts: Vec<Attempt>,
    pub stored: BTreeMap<String, Conversation>,
    /// One list per connection and conversation.
    pub received: Vec<(String, Vec<Receipt>)>,
}

/// Finds every broken promise.
pub fn check(history: &History) -> Vec<String> {
    let mut findings = Vec::new();
    let mut by_key: HashMap<(&str, &str, &str), Vec<&Stored>> = HashMap::new();
    for (id, conversation) in &history.stored {
        check_numbers(id, conversation, &mut findings);
        for stored in &conversation.messages {
            by_key.entry((id, &stored.sender, &stored.client_id)).or_default().push(stored);
        }
    }
    for attempt in &history.attempts {
        let key = (attempt.conversation.as_str(), attempt.sender.as_str(), attempt.client_id.as_str());
        check_attempt(attempt, &by_key.remove(&key).unwrap_or_default(), &mut findings);
    }
    findings.extend(by_key.keys().map(|key| format!("{key:?} was sent by nobody")));
    check_own_order(&history.attempts, &mut findings);
    for (id, receipts) in &history.received {
        check_receipts(id, receipts, &history.stored, &mut findings);
    }
    findings
}

/// No gap, no repeat: every number up to the last belongs to a message or to a change of one.
fn check_numbers(id: &str, conversation: &Conversation, findings: &mut Vec<String>) {
    for pair in conversation.messages.windows(2) {
        if pair[0].place.seq >= pair[1].place.seq {
            findings.push(format!("{id}: {:?} is read before {:?}", pair[0].place, pair[1].place));
        }
    }
    let changes = |stored: &Stored| stored.rev + u64::from(stored.deleted);
    let counted: u64 = conversation.messages.iter().map(changes).sum();
    if counted != conversation.head {
        findings.push(format!("{id}: {counted} changes under {} numbers", conversation.head));
    }
    if conversation.messages.iter().any(|stored| stored.place.seq > conversation.head || stored.place.seq == 0) {
        findings.push(format!("{id}: a number beyond the end"));
    }
}

fn check_attempt(attempt: &Attempt, stored: &[&Stored], findings: &mut Vec<String>) {
    let name = format!("{}/{}/{}", attempt.conversation, attempt.sender, attempt.client_id);
    let stored = match stored {
        [] if attempt.acked == 0 => return,
        [] => return findings.push(format!("{name} was acknowledged and is not stored")),
        [stored] => stored,
        more => return findings.push(format!("{name} is stored {} times", more.len())),
    };
    if attempt.place.as_ref().is_some_and(|place| *place != stored.place) {
        findings.push(format!("{name} was acknowledged as {:?} and is {:?}", attempt.place, stored.place));
    }
    let edits = usize::try_from(stored.rev).unwrap_or(usize::MAX).wrapping_sub(1);
    if edits + 1 < attempt.acked || edits >= attempt.texts.len() {
        findings.push(format!("{name} has revision {}, {} were acknowledged", stored.rev, attempt.acked));
    }
    match (attempt.deletion, stored.deleted) {
        (Deletion::No, true) => findings.push(format!("{name} was deleted by nobody")),
        (Deletion::Acked, false) => findings.push(format!("{name} is back although its deletion was acknowledged")),
        (Deletion::Asked | Deletion::Acked, true) if stored.text.is_empty() => {}
        (_, false) if attempt.texts.get(edits) == Some(&stored.text) => {}
        _ => findings.push(format!("{name} has another text: {:?}", stored.text)),
    }
}

/// A sender's messages keep their order.
fn check_own_order(attempts: &[Attempt], findings: &mut Vec<String>) {
    let mut own: BTreeMap<(&str, &str), Vec<(u64, u64)>> = BTreeMap::new();
    for attempt in attempts {
        if let (Some(place), Some(order)) = (&attempt.place, attempt.order) {
            own.entry((&attempt.sender, &attempt.conversation)).or_default().push((order, place.seq));
        }
    }
    for (who, acks) in &mut own {
        acks.sort_unstable();
        if !acks.is_sorted_by(|a, b| a.1 < b.1) {
            findings.push(format!("{who:?} has messages out of order"));
        }
    }
}

/// A connection gets every change, once, in order; and nothing that is not stored.
fn check_receipts(id: &str, receipts: &[Receipt], stored: &BTreeMap<String, Conversation>, findings: &mut Vec<String>) {
    for pair in receipts.windows(2) {
        if pair[0].change_seq + 1 != pair[1].change_seq {
            findings.push(format!("{id}: {} came after {}", pair[1].change_seq, pair[0].change_seq));
        }
    }
    let Some(conversation) = stored.get(id) else { return findings.push(format!("{id} is not stored")) };
    let known: HashMap<&str, &Stored> =
        conversation.messages.iter().map(|stored| (stored.place.id.as_str(), stored)).collect();
    for receipt in receipts {
        let agrees = known.get(receipt.id.as_str()).is_some_and(|stored| match &receipt.kind {
            Kind::New { seq, text } => {
                let unchanged = stored.rev == 1 && !stored.deleted;
                *seq == stored.place.seq && *seq == receipt.change_seq && (!unchanged || *text == stored.text)
            }
            Kind::Updated { text } => stored.rev > 1 && (stored.rev > 2 || stored.deleted || *text == stored.text),
            Kind::Deleted => stored.deleted,
        });
        if !agrees || receipt.change_seq > conversation.head {
            findings.push(format!("{id}: {receipt:?} was told and is not what is stored"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64) -> Place {
        Place { id: format!("id{seq}"), seq }
    }

    /// Two senders, one conversation: four messages (1, 2, 3, 6), one of them edited (4) and one deleted (5); one unacked.
    fn sound() -> History {
        let attempt = |sender: &str, n: u64, seq: Option<u64>, order| Attempt {
            sender: sender.to_owned(),
            conversation: "c".to_owned(),
            client_id: format!("{sender}{n}"),
            texts: vec![format!("text {sender} {n}")],
            acked: usize::from(seq.is_some()),
            deletion: Deletion::No,
            place: seq.map(place),
            order,
        };
        let mut attempts = vec![
            attempt("a", 1, Some(1), Some(1)),
            attempt("b", 1, Some(2), Some(1)),
            attempt("a", 2, Some(3), Some(2)),
            attempt("a", 3, Some(6), Some(3)),
            attempt("b", 2, None, None),
        ];
        attempts[0].texts.push("edited".to_owned());
        attempts[0].acked = 2;
        attempts[1].deletion = Deletion::Acked;
        let messages = attempts[..4].iter().map(|attempt| Stored {
            place: attempt.place.clone().expect("acked"),
            sender: attempt.sender.clone(),
            client_id: attempt.client_id.clone(),
            text: if attempt.deletion == Deletion::Acked {
                String::new()
            } else {
                attempt.texts[attempt.acked - 1].clone()
            },
            rev: attempt.acked as u64,
            deleted: attempt.deletion == Deletion::Acked,
        });
        let new = |seq, text: &str| Receipt {
            change_seq: seq,
            id: format!("id{seq}"),
            kind: Kind::New { seq, text: text.to_owned() },
        };
        let receipts = vec![
            new(2, "text b 1"),
            new(3, "text a 2"),
            Receipt { change_seq: 4, id: "id1".to_owned(), kind: Kind::Updated { text: "edited".to_owned() } },
            Receipt { change_seq: 5, id: "id2".to_owned(), kind: Kind::Deleted },
            new(6, "text a 3"),
        ];
        let stored = BTreeMap::from([("c".to_owned(), Conversation { messages: messages.collect(), head: 6 })]);
        History { attempts, stored, received: vec![("c".to_owned(), receipts)] }
    }

    #[track_caller]
    fn assert_found(what: &str, spoil: impl FnOnce(&mut History)) {
        let mut history = sound();
        spoil(&mut history);
        assert!(!check(&history).is_empty(), "not found: {what}");
    }

    fn messages(history: &mut History) -> &mut Vec<Stored> {
        &mut history.stored.get_mut("c").expect("it is there").messages
    }

    #[test]
    fn the_checker_finds_nothing_in_a_sound_history() {
        assert_eq!(check(&sound()), [""; 0]);
    }

    #[test]
    fn the_checker_finds_whatever_is_dropped_swapped_doubled_or_changed_in_the_store() {
        for index in 0..4 {
            assert_found("a dropped message", |history| drop(messages(history).remove(index)));
            assert_found("a doubled message", |history| {
                let twice = messages(history)[index].clone();
                messages(history).insert(index, twice);
            });
            assert_found("a message stored twice under two numbers", |history| {
                let mut twice = messages(history)[index].clone();
                (twice.place, twice.rev, twice.deleted) = (place(7), 1, false);
                messages(history).push(twice);
                history.stored.get_mut("c").expect("it is there").head = 7;
            });
            assert_found("a changed byte", |history| messages(history)[index].text.push('x'));
            assert_found("another number", |history| messages(history)[index].place.seq += 10);
            assert_found("another id", |history| messages(history)[index].place.id.push('0'));
            assert_found("an edit undone or made up", |history| {
                let stored = &mut messages(history)[index];
                stored.rev = if stored.rev == 1 { 2 } else { 1 };
            });
            assert_found("a deletion undone or made up", |history| messages(history)[index].deleted ^= true);
        }
        for index in 0..3 {
            assert_found("two messages swapped", |history| messages(history).swap(index, index + 1));
            assert_found("two numbers swapped", |history| {
                let messages = messages(history);
                let other = messages[index + 1].place.clone();
                messages[index + 1].place = std::mem::replace(&mut messages[index].place, other);
            });
        }
        assert_found("a gap at the end", |history| history.stored.get_mut("c").expect("it is there").head = 7);
        assert_found("a message of nobody", |history| messages(history)[3].client_id.push('x'));
        assert_found("messages out of order", |history| history.attempts[0].order = Some(9));
    }

    #[test]
    fn the_checker_finds_whatever_is_dropped_swapped_doubled_or_changed_on_the_way_to_a_reader() {
        for index in 0..5 {
            if (1..4).contains(&index) {
                assert_found("a dropped event", |history| drop(history.received[0].1.remove(index)));
            }
            assert_found("a doubled event", |history| {
                let twice = history.received[0].1[index].clone();
                history.received[0].1.insert(index, twice);
            });
            assert_found("an event of something else", |history| history.received[0].1[index].id.push('0'));
        }
        for index in 0..4 {
            assert_found("two events swapped", |history| history.received[0].1.swap(index, index + 1));
        }
        assert_found("a changed byte", |history| {
            history.received[0].1[4].kind = Kind::New { seq: 6, text: "text a 4".to_owned() };
        });
        assert_found("a changed byte in an edit", |history| {
            history.received[0].1[2].kind = Kind::Updated { text: "Edited".to_owned() };
        });
    }
}
