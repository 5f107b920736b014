//! The counting of heartbeats.

use std::time::Duration;

use super::beats::Beats;
use crate::clock;

async fn beats(seconds: &[u64]) -> Beats {
    let mut beats = Beats::default();
    for gap in seconds {
        tokio::time::advance(Duration::from_secs(*gap)).await;
        beats.beat(clock::now());
    }
    beats
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_its_own_interval_misses_nothing() {
    let beats = beats(&[5, 30, 30, 31, 29]).await;
    let count = beats.count(clock::now());
    assert_eq!((count.total, count.missed, count.consecutive), (5, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn two_intervals_without_a_beat_are_one_missed() {
    let beats = beats(&[0, 30]).await;
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(beats.count(clock::now()).consecutive, 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(beats.count(clock::now()).consecutive, 1);
    tokio::time::advance(Duration::from_secs(30)).await;
    let count = beats.count(clock::now());
    assert_eq!((count.missed, count.consecutive), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_beat_ends_the_streak_but_not_the_count() {
    let mut beats = beats(&[0, 30, 95]).await;
    let count = beats.count(clock::now());
    assert_eq!((count.total, count.missed, count.consecutive), (3, 2, 0));
    tokio::time::advance(Duration::from_secs(30)).await;
    beats.beat(clock::now());
    assert_eq!(beats.count(clock::now()).missed, 2, "the gap was no new interval");
}

#[tokio::test(start_paused = true)]
async fn without_an_interval_nothing_is_missed() {
    let beats = beats(&[1]).await;
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(beats.count(clock::now()).missed, 0);
}
