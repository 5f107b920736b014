//! The checker of edit locks and of statuses: what was acknowledged against what is held. It knows nothing of servers.

/// What somebody wanted with a lock and got no answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Lock(&'static str),
    Unlock,
}

/// A new lock: its fencing number, and when it was asked for and given, by a clock that everybody shares.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    pub fence: u64,
    pub asked: u64,
    pub given: u64,
}

/// The lock on one message as its users know it.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    pub message: String,
    /// Who holds it, and its fencing number.
    pub held: Option<(&'static str, u64)>,
    pub wish: Option<Wish>,
}

/// The lock on one message as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Free,
    Held { by: String, fence: u64 },
}

/// Finds every broken promise.
pub fn check(slots: &[Slot], seen: &[Seen], grants: &[Grant]) -> Vec<String> {
    let mut findings = Vec::new();
    assert_eq!(slots.len(), seen.len(), "all of them are looked at");
    for (slot, seen) in slots.iter().zip(seen) {
        let as_before = match (&slot.held, seen) {
            (None, Seen::Free) => true,
            (Some((holder, number)), Seen::Held { by, fence }) => holder == by && number == fence,
            _ => false,
        };
        let as_wished = match (slot.wish, seen) {
            (Some(Wish::Unlock), Seen::Free) => true,
            (Some(Wish::Lock(user)), Seen::Held { by, fence }) => {
                user == by && grants.iter().all(|grant| grant.fence < *fence)
            }
            _ => false,
        };
        if !as_before && !as_wished {
            findings.push(format!("{slot:?} is {seen:?}"));
        }
    }
    findings.extend(check_fences(grants));
    findings
}

/// A number is given once, and a lock that is asked for after another one was given has a higher one.
fn check_fences(grants: &[Grant]) -> Vec<String> {
    let mut findings = Vec::new();
    let (mut by_asked, mut by_given) = (grants.to_vec(), grants.to_vec());
    by_asked.sort_by_key(|grant| grant.asked);
    by_given.sort_by_key(|grant| grant.given);
    let mut earlier = by_given.iter().peekable();
    let mut highest = 0;
    for grant in &by_asked {
        while let Some(before) = earlier.next_if(|before| before.given < grant.asked) {
            highest = highest.max(before.fence);
        }
        if grant.fence <= highest {
            findings.push(format!("{grant:?} was given after {highest}"));
        }
    }
    by_given.sort_by_key(|grant| grant.fence);
    let twice = by_given.windows(2).filter(|pair| pair[0].fence == pair[1].fence);
    findings.extend(twice.map(|pair| format!("{pair:?} have one number")));
    findings
}

/// A value that one user sets again and again: the last one acknowledged, and the one that got no ack.
#[derive(Clone, Debug)]
pub struct Choice<T> {
    pub acked: T,
    pub asked: Option<T>,
}

impl<T: PartialEq> Choice<T> {
    /// Whether this may be what is stored.
    pub fn allows(&self, seen: &T) -> bool {
        self.acked == *seen || self.asked.as_ref() == Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> (Vec<Slot>, Vec<Seen>, Vec<Grant>) {
        let slot = |held, wish| Slot { message: "m".to_owned(), held, wish };
        let held = |by: &str, fence| Seen::Held { by: by.to_owned(), fence };
        let slots = vec![
            slot(Some(("kim", 3)), None),
            slot(None, None),
            slot(Some(("lee", 2)), Some(Wish::Unlock)),
            slot(None, Some(Wish::Lock("kim"))),
        ];
        let seen = vec![held("kim", 3), Seen::Free, Seen::Free, held("kim", 4)];
        // The second and the third were asked for at the same time.
        let grant = |fence, asked, given| Grant { fence, asked, given };
        (slots, seen, vec![grant(1, 1, 2), grant(3, 3, 5), grant(2, 4, 6)])
    }

    #[track_caller]
    fn assert_found(what: &str, spoil: impl FnOnce(&mut Vec<Slot>, &mut Vec<Seen>, &mut Vec<Grant>)) {
        let (mut slots, mut seen, mut grants) = sound();
        spoil(&mut slots, &mut seen, &mut grants);
        assert!(!check(&slots, &seen, &grants).is_empty(), "not found: {what}");
    }

    #[test]
    fn the_checker_of_locks_finds_nothing_in_a_sound_history() {
        let (slots, mut seen, grants) = sound();
        assert_eq!(check(&slots, &seen, &grants), [""; 0]);
        seen[2] = Seen::Held { by: "lee".to_owned(), fence: 2 };
        seen[3] = Seen::Free;
        assert_eq!(check(&slots, &seen, &grants), [""; 0], "what got no answer is there or not");
    }

    #[test]
    fn the_checker_of_locks_finds_a_lock_that_is_lost_made_up_or_of_somebody_else() {
        assert_found("a lost lock", |_, seen, _| seen[0] = Seen::Free);
        assert_found("a lock of nobody", |_, seen, _| seen[1] = Seen::Held { by: "kim".to_owned(), fence: 9 });
        for (index, fence) in [(0, 3), (2, 2), (3, 4)] {
            assert_found("another holder", |_, seen, _| seen[index] = Seen::Held { by: "mia".to_owned(), fence });
        }
        for (index, by) in [(0, "kim"), (2, "lee")] {
            assert_found("another number", |_, seen, _| seen[index] = Seen::Held { by: by.to_owned(), fence: 7 });
        }
        assert_found("an old number", |_, seen, _| seen[3] = Seen::Held { by: "kim".to_owned(), fence: 3 });
    }

    #[test]
    fn the_checker_of_locks_finds_numbers_that_go_back_or_come_twice() {
        for index in 1..3 {
            assert_found("an old number", |_, _, grants| grants[index].fence = 1);
            assert_found("a lower number", |_, _, grants| grants[index].fence = 0);
        }
        assert_found("one number for two", |_, _, grants| grants[1].fence = 2);
        assert_found("numbers in another order", |_, _, grants| grants[2].asked = 7);
    }

    #[test]
    fn a_choice_is_the_last_one_acknowledged_or_the_one_without_an_ack() {
        let mut choice = Choice { acked: 2, asked: Some(3) };
        assert_eq!([1, 2, 3, 4].map(|seen| choice.allows(&seen)), [false, true, true, false]);
        choice.asked = None;
        assert_eq!([1, 2, 3, 4].map(|seen| choice.allows(&seen)), [false, true, false, false]);
    }
}
