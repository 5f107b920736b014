//! The checker of the offline queue: what was sent against what people got who come and go. It knows nothing of servers.

use std::collections::{BTreeMap, HashMap};

use crate::checker::Place;

/// A message that somebody wanted to send.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The life of the server in which it was sent, counted from 0.
    pub life: usize,
    pub conversation: String,
    pub text: String,
    /// Where the ack said that it is stored.
    pub place: Option<Place>,
}

/// Something that a member got by itself, from the queue or live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub conversation: String,
    pub place: Place,
    pub text: String,
    pub redelivered: bool,
}

/// One connection of a member who comes and goes.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    pub arrivals: Vec<Arrival>,
    /// By conversation, up to where the server has the transport's proof of arrival.
    pub proved: BTreeMap<String, u64>,
    /// By conversation, up to where the client has said so and got an ack.
    pub confirmed: BTreeMap<String, u64>,
}

/// What happens to a member.
#[derive(Clone, Debug)]
pub enum Step {
    Visit(Visit),
    /// The server is stopped in order, or killed; and starts again.
    Restart {
        clean: bool,
    },
}

/// Everything that is checked.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub sent: Vec<Sent>,
    /// By user, in the order in which it happened.
    pub members: BTreeMap<String, Vec<Step>>,
}

/// What is known of a member in the middle of the history.
#[derive(Default)]
struct Standing<'a> {
    life: usize,
    /// Visits in this life so far.
    visits: usize,
    got: HashMap<&'a str, BTreeMap<u64, &'a Arrival>>,
    /// Nothing up to here may come again.
    settled: HashMap<&'a str, u64>,
    /// Nor up to here, unless the server is killed.
    proved: HashMap<&'a str, u64>,
}

/// Finds every broken promise. With `complete`, everybody has been there at the end and got all there was.
pub fn check(history: &History, complete: bool) -> Vec<String> {
    let mut findings = Vec::new();
    let mut texts = HashMap::new();
    for sent in &history.sent {
        texts.insert((sent.conversation.as_str(), sent.text.as_str()), sent);
    }
    for (user, steps) in &history.members {
        let mut standing = Standing::default();
        for step in steps {
            match step {
                Step::Visit(visit) => {
                    standing.visit(visit, &texts, |finding| findings.push(format!("{user}: {finding}")));
                }
                Step::Restart { clean } => standing.restart(*clean),
            }
        }
        standing.end(&history.sent, complete, |finding| findings.push(format!("{user}: {finding}")));
    }
    findings
}

fn raise<'a>(marks: &mut HashMap<&'a str, u64>, to: impl IntoIterator<Item = (&'a str, u64)>) {
    for (conversation, seq) in to {
        let mark = marks.entry(conversation).or_default();
        *mark = seq.max(*mark);
    }
}

impl<'a> Standing<'a> {
    fn restart(&mut self, clean: bool) {
        let proved = std::mem::take(&mut self.proved);
        if clean {
            raise(&mut self.settled, proved);
        }
        (self.life, self.visits) = (self.life + 1, 0);
    }

    fn visit(&mut self, visit: &'a Visit, texts: &HashMap<(&str, &str), &Sent>, mut found: impl FnMut(String)) {
        let highest = |got: &BTreeMap<u64, &Arrival>| got.last_key_value().map_or(0, |(seq, _)| *seq);
        let before: HashMap<&str, u64> = self.got.iter().map(|(id, got)| (*id, highest(got))).collect();
        let mut last: HashMap<&str, u64> = HashMap::new();
        for arrival in &visit.arrivals {
            let (id, seq) = (arrival.conversation.as_str(), arrival.place.seq);
            let had = before.get(id).copied().unwrap_or(0);
            match last.insert(id, seq) {
                Some(previous) if previous + 1 != seq => found(format!("{id}: {seq} came after {previous}")),
                None if seq > had + 1 => found(format!("{id}: had {had}, and {seq} came first")),
                _ => {}
            }
            let floor = self.settled.get(id).max(self.proved.get(id)).copied().unwrap_or(0);
            if seq <= floor {
                found(format!("{id}: {seq} came again although everything up to {floor} was confirmed"));
            }
            let sent = texts.get(&(id, arrival.text.as_str()));
            match self.got.entry(id).or_default().insert(seq, arrival) {
                Some(first) if first.place != arrival.place || first.text != arrival.text => {
                    found(format!("{id}: {seq} was {first:?} and is {arrival:?}"));
                }
                Some(_) if !arrival.redelivered => found(format!("{id}: {seq} came again and did not say so")),
                None if arrival.redelivered && self.visits == 0 && sent.is_some_and(|sent| sent.life == self.life) => {
                    found(format!("{id}: {seq} is said to come again, and nobody was there before"));
                }
                _ => {}
            }
            match sent {
                None => found(format!("{id}: {arrival:?} was sent by nobody")),
                Some(sent) if sent.place.as_ref().is_some_and(|place| *place != arrival.place) => {
                    found(format!("{id}: {arrival:?} was acknowledged as {:?}", sent.place));
                }
                Some(_) => {}
            }
        }
        raise(&mut self.proved, visit.proved.iter().map(|(id, seq)| (id.as_str(), *seq)));
        raise(&mut self.settled, visit.confirmed.iter().map(|(id, seq)| (id.as_str(), *seq)));
        self.visits += 1;
    }

    fn end(&self, sent: &[Sent], complete: bool, mut found: impl FnMut(String)) {
        let mut times: HashMap<(&str, &str), u32> = HashMap::new();
        for arrival in self.got.values().flat_map(BTreeMap::values) {
            *times.entry((&arrival.conversation, &arrival.text)).or_default() += 1;
        }
        for sent in sent {
            let (id, text) = (sent.conversation.as_str(), sent.text.as_str());
            let times = times.get(&(id, text)).copied().unwrap_or(0);
            let up_to = self.got.get(id).and_then(BTreeMap::last_key_value).map_or(0, |(seq, _)| *seq);
            let due = sent.place.as_ref().is_some_and(|place| complete || place.seq <= up_to);
            if times > 1 || (due && times == 0) {
                found(format!("{sent:?} came under {times} numbers"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64) -> Place {
        Place { id: format!("id{seq}"), seq }
    }

    fn arrival(seq: u64, redelivered: bool) -> Arrival {
        Arrival { conversation: "c".to_owned(), place: place(seq), text: format!("text {seq}"), redelivered }
    }

    fn visit(arrivals: Vec<Arrival>, proved: u64, confirmed: u64) -> Step {
        let up_to = |seq| BTreeMap::from([("c".to_owned(), seq)]);
        Step::Visit(Visit { arrivals, proved: up_to(proved), confirmed: up_to(confirmed) })
    }

    /// Eight messages, the fifth without an ack. Two come and are proved, a clean restart; two come, a crash; they come again with
    /// two more and the first of these is confirmed; then the connection breaks, and all of the rest comes.
    fn sound() -> History {
        let sent = (1..=8).map(|seq| Sent {
            life: if seq < 3 {
                0
            } else if seq < 5 {
                1
            } else {
                2
            },
            conversation: "c".to_owned(),
            text: format!("text {seq}"),
            place: (seq != 5).then(|| place(seq)),
        });
        let steps = vec![
            visit(vec![arrival(1, false), arrival(2, false)], 2, 0),
            Step::Restart { clean: true },
            visit(vec![arrival(3, false), arrival(4, false)], 4, 0),
            Step::Restart { clean: false },
            visit((3..=6).map(|seq| arrival(seq, seq < 5)).collect(), 4, 5),
            visit((6..=8).map(|seq| arrival(seq, seq < 7)).collect(), 8, 0),
        ];
        History { sent: sent.collect(), members: BTreeMap::from([("gus".to_owned(), steps)]) }
    }

    fn arrivals(history: &mut History, step: usize) -> &mut Vec<Arrival> {
        match &mut history.members.get_mut("gus").expect("he is there")[step] {
            Step::Visit(visit) => &mut visit.arrivals,
            Step::Restart { .. } => panic!("no visit"),
        }
    }

    #[track_caller]
    fn assert_found(what: &str, spoil: impl FnOnce(&mut History)) {
        let mut history = sound();
        spoil(&mut history);
        assert!(!check(&history, true).is_empty(), "not found: {what}");
    }

    #[test]
    fn the_checker_of_the_queue_finds_nothing_in_a_sound_history() {
        assert_eq!(check(&sound(), true), [""; 0]);
    }

    #[test]
    fn the_checker_of_the_queue_finds_what_is_dropped_swapped_doubled_or_changed() {
        for (step, length) in [(0, 2), (2, 2), (4, 4), (5, 3)] {
            for index in 0..length {
                assert_found("a doubled arrival", |history| {
                    let twice = arrivals(history, step)[index].clone();
                    arrivals(history, step).insert(index, twice);
                });
                assert_found("a changed byte", |history| arrivals(history, step)[index].text.push('x'));
                if (step, index) != (4, 2) {
                    // The fifth got no ack and came once: nobody knows another id of it.
                    assert_found("another id", |history| arrivals(history, step)[index].place.id.push('x'));
                }
                assert_found("another number", |history| arrivals(history, step)[index].place.seq += 10);
                if index > 0 {
                    assert_found("swapped arrivals", |history| arrivals(history, step).swap(index - 1, index));
                    assert_found("a dropped arrival", |history| {
                        // From a place where something follows, or of something that never comes again.
                        let arrivals = arrivals(history, step);
                        drop(arrivals.remove(if step < 5 && index + 1 == length { index - 1 } else { index }));
                        if step == 0 {
                            arrivals.clear();
                        }
                    });
                }
            }
        }
        assert_found("an acknowledged message that never comes", |history| {
            history.sent.push(Sent {
                life: 2,
                conversation: "c".to_owned(),
                text: "text 9".to_owned(),
                place: Some(place(9)),
            });
        });
        assert_found("a message of nobody", |history| drop(history.sent.remove(4)));
    }

    #[test]
    fn the_checker_of_the_queue_finds_a_repeat_that_should_not_be_or_does_not_say_so() {
        assert_found("a repeat after proof and a clean restart", |history| {
            arrivals(history, 2).insert(0, arrival(2, true));
        });
        assert_found("a repeat after a confirmation and a new connection", |history| {
            arrivals(history, 5).insert(0, arrival(5, true));
        });
        assert_found("a repeat of what was proved in the same life", |history| {
            if let Step::Visit(visit) = &mut history.members.get_mut("gus").expect("he is there")[4] {
                visit.proved.insert("c".to_owned(), 6);
            }
        });
        assert_found("a repeat after a stop that was said to be clean", |history| {
            history.members.get_mut("gus").expect("he is there")[3] = Step::Restart { clean: true };
        });
        for (step, index) in [(4, 0), (4, 1), (5, 0)] {
            assert_found("a repeat without its mark", |history| arrivals(history, step)[index].redelivered = false);
        }
        for index in 2..4 {
            assert_found("a mark without a repeat", |history| arrivals(history, 4)[index].redelivered = true);
        }
    }
}
