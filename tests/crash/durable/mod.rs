//! Everything else that is promised to last, in the same rounds: what waits for people who are away, notifications, edit locks,
//! statuses. The server is killed at random moments under load, and now and then stopped in order.

mod absent;
mod bell;
mod editors;
mod locks;
mod notes;
mod queue;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hobnob::clock::Timestamp;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};

use self::{
    absent::Way,
    bell::Bell,
    editors::{Desk, EDITORS, PROBE, Person, Ticks},
    locks::Slot,
    queue::{History, Sent, Step},
};
use crate::{
    load::{self, place},
    support::{
        client::Client,
        command::Sandbox,
        process::{Server, api_key},
        within,
    },
};

const ROUNDS: usize = 20;
/// Every so many rounds the server is stopped in order instead.
const CLEAN_EVERY: usize = 4;
const SENDERS: [&str; 2] = ["ann", "ben"];
const ABSENT: [&str; 4] = ["gus", "hal", "ivy", "joe"];
/// Each is told by two, who know only of their own.
const TOLD: [&str; 4] = ["eve", "eve", "fay", "fay"];
const PEOPLE: [&str; 2] = ["sue", "tom"];
const CONVERSATIONS: usize = 2;
/// Two desks of so many messages.
const LOCKED: usize = 6;
/// Messages of one sender under way at the same time.
const IN_FLIGHT: usize = 4;
/// Messages of one sender while those who were away come: they must be able to keep up on a slow machine.
const MOST: usize = 80;
/// Proof of arrival comes with heartbeats; locks outlive the time that a start takes; nothing is left out for being too much.
const SETTINGS: &[(&str, &str)] = &[
    ("SOCKET_PING_INTERVAL", "100"),
    ("HOBNOB_LOCKS__GRACE_MS", "60000"),
    ("HOBNOB_NOTIFICATIONS__MAX_PER_USER", "100000"),
    ("HOBNOB_RATE_LIMITS__BACKEND_MAX", "0"),
];

/// One data directory through all rounds, and what is known of it.
struct World {
    sandbox: Sandbox,
    key: String,
    conversations: Vec<String>,
    history: History,
    life: usize,
    bells: Vec<Bell>,
    desks: Vec<Desk>,
    people: Vec<Person>,
}

/// What one task of the load gives back.
enum Done {
    Sent(Vec<Sent>),
    Visit(&'static str, queue::Visit),
    Bell(Bell),
    Desk(Desk),
    Person(Person),
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::new();
        let key = api_key(&sandbox).await;
        let server = Server::start_with(&sandbox, SETTINGS).await;
        let ann = Client::connect(server.address, SENDERS[0]).await;
        let members = [&SENDERS[..], &ABSENT[..]].concat();
        let mut conversations = Vec::new();
        for _ in 0..CONVERSATIONS {
            conversations.push(ann.group(&members).await);
        }
        let kim = Client::connect(server.address, EDITORS[0]).await;
        let group = kim.group(&[&EDITORS[..], &[PROBE]].concat()).await;
        let ticks = Ticks::default();
        let mut desks = Vec::new();
        for _ in 0..2 {
            let mut slots = Vec::new();
            for _ in 0..LOCKED {
                let sent = kim.ok("message:send", json!({"conversationId": group, "content": "edit me"})).await;
                slots.push(Slot { message: place(&sent["message"]).id, ..Slot::default() });
            }
            desks.push(Desk { slots, grants: Vec::new(), ticks: ticks.clone() });
        }
        server.kill().await;
        let members = ABSENT.iter().map(|user| ((*user).to_owned(), vec![Step::Restart { clean: false }])).collect();
        let history = History { sent: Vec::new(), members };
        let bells = TOLD.iter().enumerate().map(|(number, user)| Bell::new(user, number)).collect();
        let people = PEOPLE.map(Person::new).into();
        Self { sandbox, key, conversations, history, life: 1, bells, desks, people }
    }

    /// Everything that was acknowledged is there.
    async fn check(&mut self, address: SocketAddr) {
        assert_eq!(queue::check(&self.history, false), [""; 0]);
        let editors = load::connect(address, &EDITORS).await;
        let probe = Client::connect(address, PROBE).await;
        for desk in &mut self.desks {
            desk.check(&editors, &probe).await;
        }
        for person in &mut self.people {
            person.check(address).await;
        }
        // Two bells tell the same user, so all of them are looked at as one.
        for user in ["eve", "fay"] {
            let of_user = |bell: &&mut Bell| bell.user == user;
            let mut whole = Bell::new(user, TOLD.len());
            for bell in self.bells.iter_mut().filter(of_user) {
                whole.notes.append(&mut bell.notes);
            }
            whole.check(address, &self.key).await;
            let bell = self.bells.iter_mut().find(of_user).expect("there are two");
            bell.notes = whole.notes;
        }
    }

    /// Those who are away come while messages are sent. Then load until the moment, and SIGKILL or SIGTERM.
    async fn round(&mut self, server: &mut Server, random: &mut StdRng, (moment, clean): (Duration, bool)) {
        let (mut going, mut tasks) = (JoinSet::new(), JoinSet::new());
        self.start_senders(server.address, random, &mut going, MOST).await;
        self.visit(server.address, random, (&mut going, &mut tasks)).await;
        let mut done = within("the visits", going.join_all()).await;
        self.start_senders(server.address, random, &mut tasks, usize::MAX).await;
        self.start(server.address, random, &mut tasks).await;
        // Nobody stops by himself: this ends at the moment.
        let end = timeout(moment, tasks.join_next()).await;
        assert!(end.is_err(), "somebody stopped before the server did: {}", server.calm_log());
        if clean {
            server.terminate();
        } else {
            server.signal("KILL");
        }
        let (status, log) = server.ended().await;
        assert_eq!(status.code() == Some(0), clean, "{log}");
        done.extend(within("the end of the load", tasks.join_all()).await);
        for done in done {
            self.keep(done);
        }
        for steps in self.history.members.values_mut() {
            steps.push(Step::Restart { clean });
        }
        self.life += 1;
    }

    /// Starts those who send messages, as many as `most`.
    async fn start_senders(&self, address: SocketAddr, random: &mut StdRng, tasks: &mut JoinSet<Done>, most: usize) {
        for user in SENDERS {
            let client = Client::connect(address, user).await;
            let (conversations, life, seed) = (self.conversations.clone(), self.life, random.random());
            tasks.spawn(async move { Done::Sent(send(&client, user, &conversations, life, (seed, most)).await) });
        }
    }

    /// Starts everybody who works until the server is gone.
    async fn start(&mut self, address: SocketAddr, random: &mut StdRng, tasks: &mut JoinSet<Done>) {
        for bell in std::mem::take(&mut self.bells) {
            let auth = json!({"token": crate::support::token::of(bell.user)});
            let own = Client::join(address, "/notifications", auth).await.expect("admitted");
            let other = Client::connect(address, SENDERS[0]).await;
            let (key, seed) = (self.key.clone(), random.random());
            tasks.spawn(async move { Done::Bell(bell.ring(address, key, (own, other), seed).await) });
        }
        for desk in std::mem::take(&mut self.desks) {
            let (clients, seed) = (load::connect(address, &EDITORS).await, random.random());
            tasks.spawn(async move { Done::Desk(desk.edit(clients, seed).await) });
        }
        for person in std::mem::take(&mut self.people) {
            let (client, seed) = (Client::connect(address, person.user).await, random.random());
            tasks.spawn(async move { Done::Person(person.change(client, seed).await) });
        }
    }

    /// Some of those who are away come, each in another way; some go by themselves.
    async fn visit(
        &mut self,
        address: SocketAddr,
        random: &mut StdRng,
        (going, staying): (&mut JoinSet<Done>, &mut JoinSet<Done>),
    ) {
        let marks = self.conversations.iter().map(|id| (id.clone(), format!("mark of {}", self.life)));
        let marks: BTreeMap<String, String> = marks.collect();
        for user in ABSENT {
            let way = match random.random_range(0..6) {
                0 => Way::Confirm,
                1 | 2 => Way::Prove,
                3 => Way::Vanish(random.random_range(1..60)),
                4 => Way::Stay,
                _ => continue,
            };
            let tasks = if matches!(way, Way::Stay) { &mut *staying } else { &mut *going };
            let marks = marks.clone();
            tasks.spawn(async move { Done::Visit(user, absent::come(address, user.to_owned(), marks, way).await) });
        }
        let ann = Client::connect(address, SENDERS[0]).await;
        for (conversation, text) in marks {
            let ack = ann.ok("message:send", json!({"conversationId": conversation, "content": text})).await;
            self.history.sent.push(Sent { life: self.life, conversation, text, place: Some(place(&ack["message"])) });
        }
    }

    fn keep(&mut self, done: Done) {
        match done {
            Done::Sent(sent) => self.history.sent.extend(sent),
            Done::Visit(user, visit) => self.history.members.get_mut(user).expect("known").push(Step::Visit(visit)),
            Done::Bell(bell) => self.bells.push(bell),
            Done::Desk(desk) => self.desks.push(desk),
            Done::Person(person) => self.people.push(person),
        }
    }

    /// Everybody comes and gets all there is.
    async fn everybody_comes(&mut self, address: SocketAddr) {
        let ann = Client::connect(address, SENDERS[0]).await;
        let mut marks = BTreeMap::new();
        for conversation in self.conversations.clone() {
            let text = "the last one".to_owned();
            let ack = ann.ok("message:send", json!({"conversationId": conversation, "content": text})).await;
            marks.insert(conversation.clone(), text.clone());
            self.history.sent.push(Sent { life: self.life, conversation, text, place: Some(place(&ack["message"])) });
        }
        for user in ABSENT {
            let visit = absent::come(address, user.to_owned(), marks.clone(), Way::Confirm).await;
            self.keep(Done::Visit(user, visit));
        }
        assert_eq!(queue::check(&self.history, true), [""; 0]);
    }

    /// What was put to the test; a run that has tested next to nothing fails.
    fn summary(&self) -> String {
        let visits = self.history.members.values().flatten().filter_map(|step| match step {
            Step::Visit(visit) => Some(visit),
            Step::Restart { .. } => None,
        });
        let arrivals: Vec<_> = visits.flat_map(|visit| &visit.arrivals).collect();
        let again = arrivals.iter().filter(|arrival| arrival.redelivered).count();
        let notes: usize = self.bells.iter().map(|bell| bell.notes.len()).sum();
        let grants: usize = self.desks.iter().map(|desk| desk.grants.len()).sum();
        let changes: usize = self.people.iter().map(|person| person.changes).sum();
        let sent = self.history.sent.len();
        assert!([sent, again, notes, grants, changes].iter().all(|count| *count > ROUNDS * 2), "next to nothing");
        format!(
            "{ROUNDS} stops: {sent} messages to {} people who come and go, {} arrivals, {again} marked as repeats; {notes} \
             notifications; {grants} locks; {changes} statuses",
            ABSENT.len(),
            arrivals.len(),
        )
    }
}

/// Sends until there were enough, or the server is gone.
async fn send(
    client: &Client,
    user: &str,
    conversations: &[String],
    life: usize,
    (seed, most): (u64, usize),
) -> Vec<Sent> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut under_way, mut all) = (FuturesUnordered::new(), Vec::new());
    for counter in 0..most {
        let conversation = conversations[random.random_range(0..conversations.len())].clone();
        let text = format!("{user} {life} {seed} {counter}");
        let ack = client.call("message:send", &json!({"conversationId": conversation, "content": text}));
        under_way.push(async move {
            let ack = ack.await.filter(|ack| ack["code"] != "unavailable");
            let place = ack.map(|ack| {
                assert_eq!(ack["ok"], true, "{ack}");
                place(&ack["message"])
            });
            Sent { life, conversation, text, place }
        });
        if under_way.len() < IN_FLIGHT {
            continue;
        }
        let Some(sent) = under_way.next().await else { break };
        let alive = sent.place.is_some();
        all.push(sent);
        if !alive {
            break;
        }
    }
    all.extend(under_way.collect::<Vec<_>>().await);
    all
}

/// P2 for whatever is stored beside messages, with P6 and P7 for people who are away and P12 for notifications.
#[tokio::test(flavor = "multi_thread")]
async fn p2_kill_9_loses_nothing_that_waits_for_anybody_no_notification_no_lock_and_no_status() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("CRASH_SEED={seed} (of what lasts)");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new().await;
    for round in 0..ROUNDS {
        let mut server = Server::start_with(&world.sandbox, SETTINGS).await;
        world.check(server.address).await;
        let moment = Duration::from_millis(random.random_range(20..300));
        let clean = round % CLEAN_EVERY == CLEAN_EVERY - 1;
        world.round(&mut server, &mut random, (moment, clean)).await;
    }
    let server = Server::start_with(&world.sandbox, SETTINGS).await;
    world.check(server.address).await;
    world.everybody_comes(server.address).await;
    eprintln!("{}", world.summary());
    server.calm_log();
}

/// A lock lasts over the kill as long as it would have lasted without, and not longer; what follows has a higher number.
#[tokio::test]
async fn p2_an_acknowledged_lock_is_held_over_a_kill_until_its_lease_ends() {
    let settings = [SETTINGS, &[("LOCK_TIMEOUT", "4000")]].concat();
    let sandbox = Sandbox::new();
    let server = Server::start_with(&sandbox, &settings).await;
    let [kim, lee] = load::connect(server.address, &EDITORS).await.try_into().ok().expect("two");
    let group = lee.group(&EDITORS).await;
    let sent = lee.ok("message:send", json!({"conversationId": group, "content": "edit me"})).await;
    let message = json!({"messageId": sent["id"]});
    let lock = kim.ok("message:lock", message.clone()).await;
    server.kill().await;
    let server = Server::start_with(&sandbox, &settings).await;
    let _kim = Client::connect(server.address, EDITORS[0]).await;
    let mut lee = Client::connect(server.address, EDITORS[1]).await;
    let refused = lee.refused("locked", "message:lock", message.clone()).await;
    assert_eq!((&refused["lockedBy"], &refused["expiresAt"]), (&json!(EDITORS[0]), &lock["expiresAt"]));
    lee.refused("locked", "message:edit", json!({"messageId": sent["id"], "content": "not yet"})).await;
    let ended = lee.event("message:unlocked").await;
    assert_eq!((&ended["messageId"], &ended["reason"]), (&sent["id"], &json!("expired")), "{ended}");
    let end = lock["expiresAt"].as_str().and_then(Timestamp::parse).expect("a date");
    let late = Timestamp::now().as_millis() - end.as_millis();
    assert!((-50..5000).contains(&late), "{late} ms after its end");
    let next = lee.ok("message:lock", message).await;
    assert!(next["fence"].as_u64() > lock["fence"].as_u64(), "{next} after {lock}");
    server.calm_log();
}
