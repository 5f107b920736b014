//! The counts in a message's record.

use crate::{features::messages::Reacted, ids::UserId};

/// Users of one emoji that are named in the message; all are counted. A message is written anew with each reaction, so the list is
/// short: it is what clients show, and in most groups it is everybody.
pub(super) const MAX_NAMED: usize = 50;

/// Counts a user in who was not counted under this emoji.
pub(super) fn count_in(reactions: &mut Vec<Reacted>, emoji: &str, user: &UserId) {
    let index = reactions.iter().position(|reacted| reacted.emoji == emoji);
    match index.and_then(|index| reactions.get_mut(index)) {
        Some(reacted) => {
            reacted.count = reacted.count.saturating_add(1);
            if reacted.users.len() < MAX_NAMED {
                reacted.users.push(user.clone());
            }
        }
        None => reactions.push(Reacted { emoji: emoji.to_owned(), count: 1, users: vec![user.clone()] }),
    }
}

/// Counts a user out who was counted under this emoji; `others` are some who still are, for the place that becomes free.
pub(super) fn count_out(reactions: &mut Vec<Reacted>, emoji: &str, user: &UserId, others: &[UserId]) {
    if let Some(reacted) = reactions.iter_mut().find(|reacted| reacted.emoji == emoji) {
        reacted.count = reacted.count.saturating_sub(1);
        reacted.users.retain(|named| named != user);
        let unnamed = others.iter().filter(|other| *other != user && !reacted.users.contains(other));
        let free = MAX_NAMED.saturating_sub(reacted.users.len());
        let next: Vec<UserId> = unnamed.take(free).cloned().collect();
        reacted.users.extend(next);
    }
    reactions.retain(|reacted| reacted.count > 0);
}
