//! Which valid name is spelled most like a wrong one.

/// The candidate with the smallest [`distance`] to `name`; the first of several, and an empty text if there is none.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> &'a str {
    candidates.into_iter().min_by_key(|candidate| distance(name, candidate)).unwrap_or_default()
}

/// Levenshtein distance: how many letters have to be inserted, deleted or replaced.
pub(super) fn distance(a: &str, b: &str) -> usize {
    // A name may be a whole line by mistake; nothing is near to that.
    let a: Vec<char> = a.chars().take(128).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (line, b) in b.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, a) in row.iter_mut().skip(1).zip(&a) {
            let replaced = diagonal + usize::from(*a != b);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_letters() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("port", ""), 4);
        assert_eq!(distance("", "port"), 4);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("ping_timout_ms", "ping_timeout_ms"), 1);
        assert_eq!(distance("lsiten", "listen"), 2);
    }

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(nearest("pingtimeout", ["path", "ping_interval_ms", "ping_timeout_ms"]), "ping_timeout_ms");
        assert_eq!(nearest("x", []), "");
    }
}
