//! The sockets that are connected, and when the tokens behind them end.
//!
//! One ordered set of deadlines for all sockets and one task that waits for the first of them. There is at most one deadline
//! per socket, so the number of sockets bounds everything here. Deadlines are moments of the wall clock, as tokens have them; the
//! task looks at it once a second at least, so that a clock that is set does not leave anybody in.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{AuthExpired, AuthExpiring, Claims, EndReason, SignedIn, SocketListener, TokenError, refused::Refused};
use crate::{
    clock::Timestamp,
    ids::{SocketId, UserId},
    server::{Event, Namespace, Refusal, Socket},
};

/// How long before its end a client hears that its token ends.
const WARNED_BEFORE: Duration = Duration::from_mins(1);
/// A socket is closed this long before its token would be refused at the door.
const BEFORE_REFUSAL: Duration = Duration::from_secs(1);
/// Longest time without a look at the wall clock while there are deadlines.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sockets that are told or ended at a time; events go on in between.
const PAGE: usize = 256;

/// All sockets of signed-in users, in every namespace.
pub struct LiveSockets {
    refused: Arc<Refused>,
    /// How long after its end a token is still good for a socket.
    grace: Duration,
    sockets: Mutex<Sockets>,
    /// The first deadline has changed.
    changed: Notify,
    /// Where sessions of users may be parked.
    namespaces: OnceLock<Vec<Arc<Namespace>>>,
}

#[derive(Default)]
struct Sockets {
    by_user: HashMap<UserId, Vec<Arc<Socket>>>,
    deadlines: BTreeMap<(Timestamp, SocketId), (Arc<Socket>, Step)>,
}

/// What is due at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Warn,
    End,
}

impl LiveSockets {
    pub(super) fn new(refused: Arc<Refused>, leeway: Duration) -> Self {
        let grace = leeway.saturating_sub(BEFORE_REFUSAL);
        Self { refused, grace, sockets: Mutex::default(), changed: Notify::new(), namespaces: OnceLock::new() }
    }

    /// Takes what another token grants, for all sockets of the user on the session of `socket`: a client has one token and
    /// several namespaces.
    ///
    /// # Errors
    ///
    /// `token_expired` or whatever ended the session before.
    pub(super) fn refresh(&self, socket: &Socket, claims: &Claims) -> Result<(), Refusal> {
        let mut sockets = self.sockets();
        let signed_in = SignedIn::of(socket)?;
        if let Some(ended) = signed_in.ended() {
            return Err(TokenError::from(ended).into());
        }
        let of_user = sockets.by_user.get(&claims.user).cloned().unwrap_or_default();
        for other in of_user.iter().filter(|other| other.session().sid() == socket.session().sid()) {
            let signed_in = SignedIn::of(other)?;
            signed_in.refresh(claims);
            self.schedule(&mut sockets, other, signed_in);
        }
        drop(sockets);
        // Whoever was locked out in between has been looked for with the old token.
        self.recheck(socket, signed_in);
        Ok(())
    }

    /// Says in which namespaces the sessions of somebody who is shut out end even if he is cut off from them just then. Only the first
    /// call counts.
    pub(crate) fn set_namespaces(&self, namespaces: Vec<Arc<Namespace>>) {
        self.namespaces.get_or_init(|| namespaces);
    }

    fn end_parked(&self, user: &UserId) {
        self.namespaces.get().into_iter().flatten().for_each(|namespace| namespace.end_parked(user.as_str()));
    }

    /// Ends the sessions of `user`.
    pub(super) fn end_user(&self, user: &UserId, why: EndReason) {
        self.sockets().by_user.get(user).into_iter().flatten().for_each(|socket| end(socket, why));
        self.end_parked(user);
    }

    /// Ends the sessions that came in with one token.
    pub(super) fn end_token(&self, id: &str) {
        let sockets = self.sockets();
        for socket in sockets.by_user.values().flatten() {
            if SignedIn::of(socket).is_ok_and(|signed_in| signed_in.token().1.as_deref() == Some(id)) {
                end(socket, EndReason::Revoked);
            }
        }
    }

    /// What of a token has to be good still when its bearer takes up a session again. Without it nobody may: the session was ended at
    /// the moment when it was cut.
    pub(crate) fn binding(signed_in: &SignedIn) -> Option<String> {
        if signed_in.ended().is_some() {
            return None;
        }
        serde_json::to_string(&signed_in.token()).ok()
    }

    /// Whether a session of `user` with this binding may be taken up again: not when its token was revoked meanwhile, whatever token
    /// its bearer has now.
    pub(crate) fn may_recover(&self, user: &UserId, binding: Option<&str>) -> bool {
        let token =
            binding.and_then(|binding| serde_json::from_str::<(Option<Timestamp>, Option<String>)>(binding).ok());
        token.is_some_and(|(issued_at, id)| self.refused.check(user, issued_at, id.as_deref()).is_ok())
    }

    /// Closes the sessions of `user`, who may come back, on all nodes. Returns how many sockets of this node that were.
    pub(super) fn disconnect(&self, user: &UserId) -> usize {
        let of_user = self.sockets().by_user.get(user).cloned().unwrap_or_default();
        for socket in &of_user {
            socket.close_session();
        }
        self.end_parked(user);
        let room = format!("user:{user}");
        for namespace in self.namespaces.get().into_iter().flatten() {
            namespace.to(&room).disconnect(true);
        }
        of_user.len()
    }

    /// Warns and ends until told to stop.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        loop {
            let pause = self.first_deadline().map(|first| until(first).min(LOOK_EVERY));
            let wait = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = wait => while self.take_due(Timestamp::now()) {
                    tokio::task::yield_now().await;
                },
            }
        }
    }

    /// Carries out what is due, at most a page of it; true when there may be more.
    pub(super) fn take_due(&self, now: Timestamp) -> bool {
        let mut sockets = self.sockets();
        for _ in 0..PAGE {
            let Some(first) = sockets.deadlines.first_entry().filter(|first| first.key().0 <= now) else {
                return false;
            };
            let (socket, step) = first.remove();
            let Ok(signed_in) = SignedIn::of(&socket) else { continue };
            signed_in.replace_look_at(None);
            match step {
                Step::Warn => self.schedule(&mut sockets, &socket, signed_in),
                Step::End => end(&socket, EndReason::Expired),
            }
        }
        true
    }

    /// Puts the next deadline of a socket in the place of the one before; warns at once when it is time.
    fn schedule(&self, sockets: &mut Sockets, socket: &Arc<Socket>, signed_in: &SignedIn) {
        let key = |at| (at, socket.id().clone());
        if let Some(before) = signed_in.replace_look_at(None) {
            sockets.deadlines.remove(&key(before));
        }
        let Some(expires_at) = signed_in.expires_at() else { return };
        let warn_at = expires_at.before(WARNED_BEFORE);
        let (at, step) = if warn_at > Timestamp::now() {
            (warn_at, Step::Warn)
        } else {
            socket.emit(&AuthExpiring { expires_at });
            (expires_at.after(self.grace), Step::End)
        };
        let is_first = sockets.deadlines.first_key_value().is_none_or(|((first, _), _)| at < *first);
        sockets.deadlines.insert(key(at), (Arc::clone(socket), step));
        signed_in.replace_look_at(Some(at));
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Ends a socket whose user or token was refused after the look at its token and before it was in the list.
    fn recheck(&self, socket: &Socket, signed_in: &SignedIn) {
        if let Err(why) = self.refused.check_signed_in(signed_in) {
            end(socket, why);
        }
    }

    fn first_deadline(&self) -> Option<Timestamp> {
        self.sockets().deadlines.first_key_value().map(|((at, _), _)| *at)
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SocketListener for LiveSockets {
    fn connected(&self, socket: &Arc<Socket>, user: &SignedIn) {
        let mut sockets = self.sockets();
        sockets.by_user.entry(user.user.clone()).or_default().push(Arc::clone(socket));
        self.schedule(&mut sockets, socket, user);
        drop(sockets);
        self.recheck(socket, user);
    }

    fn disconnected(&self, socket: &Arc<Socket>, user: &SignedIn, _reason: &str) {
        let mut sockets = self.sockets();
        if let Some(at) = user.replace_look_at(None) {
            sockets.deadlines.remove(&(at, socket.id().clone()));
        }
        if let Some(of_user) = sockets.by_user.get_mut(&user.user) {
            of_user.retain(|other| !Arc::ptr_eq(other, socket));
            if of_user.is_empty() {
                sockets.by_user.remove(&user.user);
            }
        }
    }

    /// What came in behind the end of its token is not handled.
    fn admit(&self, _: &Arc<Socket>, user: &SignedIn, _: &str, _: &Event<'_>) -> Result<(), Refusal> {
        user.ended().map_or(Ok(()), |why| Err(TokenError::from(why).into()))
    }
}

/// Tells a client that its token counts no more, and closes the session behind it.
fn end(socket: &Socket, why: EndReason) {
    let Ok(signed_in) = SignedIn::of(socket) else { return };
    if !signed_in.end(why) {
        return;
    }
    let expires_at = signed_in.expires_at().filter(|_| why == EndReason::Expired);
    socket.emit(&AuthExpired { expires_at: expires_at.unwrap_or_else(Timestamp::now), reason: why });
    socket.close_session();
}

/// How long it is until `moment`.
fn until(moment: Timestamp) -> Duration {
    let millis = moment.as_millis().saturating_sub(Timestamp::now().as_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
