//! The checker of notifications: what was made, read and deleted against what is kept. It knows nothing of servers.

use std::collections::BTreeMap;

/// How far something that was asked for has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    No,
    Asked,
    Acked,
}

/// A notification, and what was asked of it.
#[derive(Clone, Debug)]
pub struct Note {
    pub user: String,
    /// No other one has it.
    pub title: String,
    /// Its cause was acknowledged.
    pub made: Did,
    /// Its id, where an answer has told it or it was seen.
    pub id: Option<String>,
    pub read: Did,
    pub gone: Did,
    /// How to ask for it again; none when it follows from something else.
    pub repeatable: bool,
}

/// A notification as it was read from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: String,
    pub title: String,
    pub read: bool,
}

/// What is kept for one user, and how many are said to be unread.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    pub kept: Vec<Kept>,
    pub unread: Vec<u64>,
}

/// Finds every broken promise.
pub fn check(notes: &[Note], shelves: &BTreeMap<String, Shelf>) -> Vec<String> {
    let mut findings = Vec::new();
    for (user, shelf) in shelves {
        let unread = shelf.kept.iter().filter(|kept| !kept.read).count() as u64;
        if shelf.unread.is_empty() || shelf.unread.iter().any(|told| *told != unread) {
            findings.push(format!("{user} has {unread} unread ones and is told {:?}", shelf.unread));
        }
        for kept in &shelf.kept {
            if !notes.iter().any(|note| note.user == *user && note.title == kept.title) {
                findings.push(format!("{user} has {kept:?}, which was made by nobody"));
            }
        }
    }
    for note in notes {
        let kept = shelves.get(&note.user).into_iter().flat_map(|shelf| &shelf.kept);
        let kept: Vec<&Kept> = kept.filter(|kept| kept.title == note.title).collect();
        check_note(note, &kept, &mut findings);
    }
    findings
}

fn check_note(note: &Note, kept: &[&Kept], findings: &mut Vec<String>) {
    let kept = match kept {
        [] if note.made != Did::Acked || note.gone != Did::No => return,
        [] => return findings.push(format!("{note:?} is not there")),
        [kept] => kept,
        more => return findings.push(format!("{note:?} is there {} times", more.len())),
    };
    if note.gone == Did::Acked {
        findings.push(format!("{note:?} is back"));
    }
    if note.id.as_ref().is_some_and(|id| *id != kept.id) {
        findings.push(format!("{note:?} has another id: {}", kept.id));
    }
    let agrees = match note.read {
        Did::No => !kept.read,
        Did::Asked => true,
        Did::Acked => kept.read,
    };
    if !agrees {
        findings.push(format!("{note:?} is {kept:?}"));
    }
}

/// Notes what has become of everything that got no answer.
pub fn settle(notes: &mut Vec<Note>, shelves: &BTreeMap<String, Shelf>) {
    for note in &mut *notes {
        let kept =
            shelves.get(&note.user).into_iter().flat_map(|shelf| &shelf.kept).find(|kept| kept.title == note.title);
        if let Some(kept) = kept {
            (note.made, note.gone) = (Did::Acked, Did::No);
            note.read = if kept.read { Did::Acked } else { Did::No };
            note.id = Some(kept.id.clone());
        } else if note.gone == Did::Asked {
            note.gone = Did::Acked;
        }
    }
    // What has not come into being and cannot be asked for again will never be.
    notes.retain(|note| note.made == Did::Acked || note.repeatable);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(title: &str, made: Did, read: Did, gone: Did) -> Note {
        let id = (made == Did::Acked).then(|| format!("id of {title}"));
        Note { user: "eve".to_owned(), title: title.to_owned(), made, id, read, gone, repeatable: true }
    }

    fn sound() -> (Vec<Note>, BTreeMap<String, Shelf>) {
        let notes = vec![
            note("unread", Did::Acked, Did::No, Did::No),
            note("read", Did::Acked, Did::Acked, Did::No),
            note("perhaps read", Did::Acked, Did::Asked, Did::No),
            note("gone", Did::Acked, Did::No, Did::Acked),
            note("perhaps gone", Did::Acked, Did::No, Did::Asked),
            note("perhaps made", Did::Asked, Did::No, Did::No),
            note("not made", Did::Asked, Did::No, Did::No),
        ];
        let kept = |title: &str, read| Kept { id: format!("id of {title}"), title: title.to_owned(), read };
        let kept = vec![
            kept("unread", false),
            kept("read", true),
            kept("perhaps read", true),
            kept("perhaps gone", false),
            kept("perhaps made", false),
        ];
        (notes, BTreeMap::from([("eve".to_owned(), Shelf { kept, unread: vec![3, 3] })]))
    }

    #[track_caller]
    fn assert_found(what: &str, spoil: impl FnOnce(&mut Vec<Note>, &mut Shelf)) {
        let (mut notes, mut shelves) = sound();
        spoil(&mut notes, shelves.get_mut("eve").expect("she is there"));
        assert!(!check(&notes, &shelves).is_empty(), "not found: {what}");
    }

    /// The count fits what is there, so that only the change itself can be found.
    fn recount(shelf: &mut Shelf) {
        let unread = shelf.kept.iter().filter(|kept| !kept.read).count() as u64;
        shelf.unread = vec![unread];
    }

    #[test]
    fn the_checker_of_notifications_finds_nothing_in_a_sound_history() {
        let (mut notes, shelves) = sound();
        assert_eq!(check(&notes, &shelves), [""; 0]);
        settle(&mut notes, &shelves);
        assert_eq!(check(&notes, &shelves), [""; 0]);
        let settled = notes.iter().filter(|note| [note.read, note.gone].iter().all(|did| *did != Did::Asked)).count();
        assert_eq!(settled, notes.len(), "{notes:?}");
    }

    #[test]
    fn the_checker_of_notifications_finds_what_is_lost_doubled_or_changed() {
        for index in 0..2 {
            assert_found("a lost one", |_, shelf| {
                shelf.kept.remove(index);
                recount(shelf);
            });
            assert_found("a read that was undone or made up", |_, shelf| {
                shelf.kept[index].read ^= true;
                recount(shelf);
            });
        }
        for index in 0..5 {
            assert_found("a doubled one", |_, shelf| {
                let twice = Kept { id: "another".to_owned(), ..shelf.kept[index].clone() };
                shelf.kept.push(twice);
                recount(shelf);
            });
            assert_found("another title", |_, shelf| shelf.kept[index].title.push('x'));
        }
        for index in 0..4 {
            assert_found("another id", |_, shelf| shelf.kept[index].id.push('x'));
        }
        assert_found("a deletion undone", |_, shelf| {
            shelf.kept.push(Kept { id: "id of gone".to_owned(), title: "gone".to_owned(), read: false });
            recount(shelf);
        });
        assert_found("one of nobody", |notes, _| drop(notes.pop().and_then(|_| notes.pop())));
    }

    #[test]
    fn the_checker_of_notifications_finds_a_wrong_count() {
        for spoil in 0..2 {
            assert_found("a wrong count", |_, shelf| shelf.unread[spoil] += 1);
        }
        assert_found("no count", |_, shelf| shelf.unread.clear());
    }
}
