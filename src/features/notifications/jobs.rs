//! What the server itself tells: ordered together with its cause, made afterwards, never lost.

use std::{collections::BTreeMap, sync::PoisonError, time::Duration};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::{Draft, NotificationId, Notifications, store::JOBS};
use crate::{
    codes::ErrorCode,
    ids::{ConversationId, UserId},
    server::Refusal,
    storage::{Batch, Direction},
};

/// Jobs that are looked at together.
const JOBS_AT_ONCE: usize = 32;
/// Notifications that are made together, in one group of commits; then others have their turn.
const RECIPIENTS_AT_ONCE: usize = 64;
/// How long to wait after a failure.
const PATIENCE: Duration = Duration::from_secs(1);
/// Jobs are looked for this often even if nobody rings.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Something to tell, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Whom.
    pub recipients: Recipients,
    /// What. Its fields are within the limits of [`Draft::check`]; [`Draft::new`] cuts title and text.
    pub draft: Draft,
}

/// Whom to tell. Looked up when the notifications are made, not when they are ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    /// These users.
    Users {
        /// At most 2,000; nobody twice.
        users: Vec<UserId>,
        /// Only those who are still members of this conversation.
        members_of: Option<ConversationId>,
    },
    /// Everybody in a conversation but some.
    Members {
        /// The conversation.
        of: ConversationId,
        /// Who need not be told, such as the one who caused it.
        without: Vec<UserId>,
    },
}

impl Notifications {
    /// Adds a job to the batch of its cause: it is done if and only if the batch is committed, however the process ends. Call
    /// [`wake`](Self::wake) after the commit.
    pub fn order(&self, batch: &mut Batch, job: &Job) {
        batch.put(&JOBS, &self.next_job(), job);
    }

    /// There may be a job. Never waits; a call that is left out delays the job by 30 s at most.
    pub fn wake(&self) {
        self.ordered.notify_one();
    }

    /// A key after all that were given out before, also those of the same millisecond.
    pub(super) fn next_job(&self) -> NotificationId {
        let fresh = NotificationId::fresh();
        let mut last = self.last_job.lock().unwrap_or_else(PoisonError::into_inner);
        *last = if fresh > *last { fresh } else { successor(*last) };
        *last
    }

    /// Does jobs as they are ordered, for ever.
    pub(super) async fn run_jobs(&self) {
        loop {
            match self.do_jobs().await {
                Ok(JOBS_AT_ONCE) => tokio::task::yield_now().await,
                Ok(_) => {
                    // Whoever rings in between is heard: the bell keeps one ring.
                    drop(tokio::time::timeout(LOOK_EVERY, self.ordered.notified()).await);
                }
                Err(error) => {
                    tracing::warn!(%error, "notifications could not be made; trying again");
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }

    /// Does the oldest jobs and says how many they were. After a crash or a failure in the middle they are done again, which
    /// changes nothing for those who have been told.
    pub(crate) async fn do_jobs(&self) -> Result<usize, Refusal> {
        let jobs: BTreeMap<_, _> = self.store.scan(&JOBS, .., JOBS_AT_ONCE, Direction::Forward)?.into_iter().collect();
        let (mut waiting, mut done) = (Vec::new(), Vec::new());
        for (id, job) in &jobs {
            for user in self.recipients(&job.recipients)? {
                waiting.push((*id, &job.draft, user));
                if waiting.len() == RECIPIENTS_AT_ONCE {
                    self.tell(std::mem::take(&mut waiting), std::mem::take(&mut done)).await?;
                    tokio::task::yield_now().await;
                }
            }
            done.push(*id);
        }
        self.tell(waiting, done).await?;
        Ok(jobs.len())
    }

    /// The jobs that wait for longer than what is gone is remembered, if there are any: until they are done, nothing is forgotten.
    pub(super) fn has_old_jobs(&self) -> Result<bool, Refusal> {
        let oldest = self.store.scan(&JOBS, .., 1, Direction::Forward)?;
        let limit = crate::clock::Timestamp::now().before(super::REMEMBERED);
        Ok(oldest.first().is_some_and(|(id, _)| id.created_at() < limit))
    }

    /// Makes notifications, in this order for each user, and takes the jobs that are done with them off the list.
    async fn tell(
        &self,
        notifications: Vec<(NotificationId, &Draft, UserId)>,
        done: Vec<NotificationId>,
    ) -> Result<(), Refusal> {
        let made = notifications.iter().map(async |(job, draft, user)| {
            let id = derived_id(*job, user);
            match self.put_once(user, id, draft).await {
                Err(error) if is_final(&error) => {
                    tracing::error!(%error, %user, "a notification cannot be stored and is left out");
                    Ok(())
                }
                result => result.map(|_| ()),
            }
        });
        for result in join_all(made).await {
            result?;
        }
        let mut batch = Batch::new();
        for job in &done {
            batch.delete(&JOBS, job);
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Who is to be told, as of now.
    fn recipients(&self, recipients: &Recipients) -> Result<Vec<UserId>, Refusal> {
        match recipients {
            Recipients::Users { users, members_of: None } => Ok(users.clone()),
            Recipients::Users { users, members_of: Some(conversation) } => {
                let mut members = self.conversations.members(*conversation)?;
                members.retain(|member| users.contains(member));
                Ok(members)
            }
            Recipients::Members { of, without } => {
                let mut members = self.conversations.members(*of)?;
                members.retain(|member| !without.contains(member));
                Ok(members)
            }
        }
    }
}

/// The id of what a job tells one user: the same each time, with the time of the job.
pub(super) fn derived_id(job: NotificationId, user: &UserId) -> NotificationId {
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(user.as_str().as_bytes(), seed(job)).to_be_bytes();
    let mut bytes = *job.as_bytes();
    for (byte, random) in bytes.iter_mut().skip(6).zip(hash) {
        *byte = random;
    }
    NotificationId::from_bytes(bytes)
}

/// The next id.
fn successor(id: NotificationId) -> NotificationId {
    let mut bytes = *id.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (next, overflows) = byte.overflowing_add(1);
        *byte = next;
        if !overflows {
            break;
        }
    }
    NotificationId::from_bytes(bytes)
}

fn seed(job: NotificationId) -> u64 {
    xxhash_rust::xxh3::xxh3_64(job.as_bytes())
}

/// Whether trying again is of no use.
fn is_final(refusal: &Refusal) -> bool {
    matches!(refusal.code, ErrorCode::TooLarge | ErrorCode::TooLong | ErrorCode::InvalidPayload)
}
