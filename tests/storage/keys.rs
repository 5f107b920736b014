//! Keys: their bytes sort as they do, end by themselves and read back.

use hobnob::{
    clock::Timestamp,
    ids::{ConversationId, MessageId, UserId},
    storage::Key,
};
use proptest::{array::uniform12, collection::vec, prelude::*};

fn bytes(key: &impl Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}

fn check<K: Key + Ord + std::fmt::Debug>(a: &K, b: &K) -> Result<(), TestCaseError> {
    let (a_bytes, b_bytes) = (bytes(a), bytes(b));
    prop_assert_eq!(a.cmp(b), a_bytes.cmp(&b_bytes));
    prop_assert!(a == b || !b_bytes.starts_with(&a_bytes), "one begins with the other");
    // What follows does not matter.
    let mut input = [a_bytes.as_slice(), &b_bytes].concat();
    let mut rest = input.as_slice();
    let decoded = K::decode(&mut rest);
    prop_assert_eq!(decoded.as_ref(), Some(a));
    prop_assert_eq!(rest, b_bytes.as_slice());
    // Less than a key is no key.
    input.truncate(a_bytes.len() - 1);
    prop_assert!(K::decode(&mut input.as_slice()).is_none());
    Ok(())
}

/// Texts that are often equal at the start, and have zeros and what the encoding uses around them.
fn texts() -> impl Strategy<Value = String> {
    let parts = prop_oneof![Just("\0"), Just("\u{1}"), Just("\u{2}"), Just("a"), Just("\u{ff}"), Just("\u{10ffff}")];
    prop_oneof![vec(parts, 0..5).prop_map(|parts| parts.concat()), any::<String>()]
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), 0..300_u64, any::<u64>()]
}

fn users() -> impl Strategy<Value = UserId> {
    "[a-c|]{1,4}|[^\\p{C}\\p{Z}]{1,20}".prop_filter_map("not a user id", |text| UserId::new(&text).ok())
}

fn moments() -> impl Strategy<Value = Timestamp> {
    prop_oneof![-2..2_i64, any::<i64>()].prop_map(Timestamp::from_millis)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn texts_keep_their_order((a, b) in (texts(), texts())) {
        check(&a, &b)?;
    }

    #[test]
    fn numbers_and_moments_keep_their_order((a, b) in (numbers(), numbers()), (c, d) in (moments(), moments())) {
        check(&a, &b)?;
        check(&c, &d)?;
    }

    #[test]
    fn ids_keep_their_order((a, b) in (uniform12(any::<u8>()), uniform12(any::<u8>())), (c, d) in (users(), users())) {
        check(&MessageId::from_bytes(a), &MessageId::from_bytes(b))?;
        check(&ConversationId::from_bytes(a), &ConversationId::from_bytes(b))?;
        check(&c, &d)?;
    }

    #[test]
    fn pairs_keep_their_order((a, b) in ((texts(), numbers()), (texts(), numbers()))) {
        check(&a, &b)?;
        check(&(a.1, a.0.clone()), &(b.1, b.0.clone()))?;
        check(&(a.0.clone(), a.0), &(b.0.clone(), b.0))?;
    }

    #[test]
    fn triples_keep_their_order((a, b) in ((users(), texts(), moments()), (users(), texts(), moments()))) {
        check(&a, &b)?;
        check(&(a.2, a.0, a.1), &(b.2, b.0, b.1))?;
    }

    #[test]
    fn any_bytes_read_as_the_key_that_writes_them_or_as_none(input in vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..20)) {
        let mut rest = input.as_slice();
        if let Some(key) = <(String, u64)>::decode(&mut rest) {
            prop_assert_eq!(bytes(&key), &input[..input.len() - rest.len()]);
        }
    }
}
