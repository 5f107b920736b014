//! The server, who talks to it, and the objects that a case needs.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    client::Client,
    command::Sandbox,
    http,
    process::{DATA, Server},
    token,
};

/// How long an answer may take. Shorter than the deadline of the tests, so that the failure can say whose it was.
const PATIENCE: Duration = Duration::from_secs(15);

/// Somebody who shares nothing with anybody, and must hear of nothing.
pub const OUTSIDER: &str = "zed";

/// An id of the right form that nothing has.
pub const ABSENT: &str = "0123456789abcdef01234567";
const ABSENT_USER: &str = "nobody";

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status of a route.
    pub status: Option<u16>,
    pub body: Value,
}

impl Answer {
    /// The code, if it is a refusal.
    pub fn code(&self) -> Option<&str> {
        let is_refused = self.status.map_or(self.body["ok"] != true, |status| status >= 300);
        is_refused.then(|| self.body["code"].as_str().unwrap_or("(none)"))
    }
}

/// A running server and its clients.
pub struct World {
    pub server: Server,
    /// A key of the backend.
    key: String,
    clients: BTreeMap<(&'static str, &'static str), Client>,
    serial: u32,
    _sandbox: Sandbox,
}

impl World {
    /// A server with somebody in every namespace who must hear of nothing.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        let sandbox = Sandbox::new();
        let server = Server::start_with(&sandbox, variables).await;
        let key = sandbox.run(&["api-key", "create", "--data-dir", DATA, "--name", "cases"]).succeeded();
        let key = key.trim().to_owned();
        let mut world = Self { server, key, clients: BTreeMap::new(), serial: 0, _sandbox: sandbox };
        for namespace in super::row::EVERYWHERE {
            world.client(namespace, OUTSIDER).await;
        }
        world
    }

    /// `user` in a namespace.
    pub async fn client(&mut self, namespace: &'static str, user: &'static str) -> &mut Client {
        let place = (namespace, user);
        if !self.clients.contains_key(&place) {
            let auth = json!({"token": token::of(user)});
            let client = Client::join(self.server.address, namespace, auth).await.expect("admitted");
            self.clients.insert(place, client);
        }
        self.clients.get_mut(&place).expect("joined")
    }

    /// Ends a connection.
    pub fn leave(&mut self, place: (&'static str, &'static str)) {
        self.clients.remove(&place);
    }

    /// Sends an event of `user` and waits for the ack.
    pub async fn event(
        &mut self,
        place: (&'static str, &'static str),
        name: &str,
        payload: &Value,
    ) -> Result<Answer, String> {
        let ack = self.client(place.0, place.1).await.call(name, payload);
        let ack = tokio::time::timeout(PATIENCE, ack).await.map_err(|_| "no ack came")?;
        let body = ack.ok_or("the connection was closed")?;
        Ok(Answer { status: None, body })
    }

    /// Sends a request of `user`, or of the backend.
    pub async fn rest(&self, by: &str, method: &str, path: &str, payload: &Value) -> Answer {
        let headers = self.credentials(by);
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut body = String::new();
        if !payload.is_null() {
            headers.push(("Content-Type", "application/json"));
            body = payload.to_string();
        }
        self.raw(method, path, &headers, body.as_bytes()).await
    }

    /// Sends a request as it is.
    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = http::request(self.server.address, method, path, headers, body).await;
        let body = serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body));
        Answer { status: Some(answer.status), body }
    }

    /// The headers that show who somebody is.
    pub fn credentials(&self, by: &str) -> Vec<(&'static str, String)> {
        match by {
            "" => Vec::new(),
            "backend" => vec![("X-Api-Key", self.key.clone())],
            user => vec![("Authorization", format!("Bearer {}", token::of(user)))],
        }
    }

    /// Waits until `user` hears of an event with at least this payload.
    pub async fn hears(
        &mut self,
        place: (&'static str, &'static str),
        name: &str,
        payload: &Value,
    ) -> Result<(), String> {
        let client = self.client(place.0, place.1).await;
        let mut others = Vec::new();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let heard = client.event(name).await;
                match fits(payload, &heard) {
                    Ok(()) => return,
                    Err(why) => others.push(why),
                }
            }
        });
        let found = found.await;
        found.map_err(|_| format!("{} was not told {name} {payload}; others: {others:?}", place.1))
    }

    /// What the outsider has heard in all namespaces.
    pub async fn overheard(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for namespace in super::row::EVERYWHERE {
            let client = self.client(namespace, OUTSIDER).await;
            // What was sent to him before comes before the answer to this.
            client.emit("no-such-event", &Value::Null);
            loop {
                let event = client.next().await.expect("connected");
                if event.name == "request-failed" {
                    break;
                }
                names.push(event.name);
            }
        }
        names
    }

    /// A text that was not used before.
    fn fresh(&mut self, what: &str) -> String {
        self.serial += 1;
        format!("{what}-{}", self.serial)
    }
}

/// The objects of one case.
pub struct Scene {
    ids: BTreeMap<String, String>,
    /// Whether `~` stands for what does not exist.
    is_absent: bool,
}

impl Scene {
    pub fn new(is_absent: bool) -> Self {
        Self { ids: BTreeMap::new(), is_absent }
    }

    /// A payload with the ids of what it names.
    pub async fn json(&mut self, world: &mut World, payload: &Value) -> Result<Value, String> {
        let text = self.text(world, &payload.to_string()).await?;
        Ok(serde_json::from_str(&text).expect("ids need no escapes"))
    }

    /// The same for a text.
    pub async fn text(&mut self, world: &mut World, text: &str) -> Result<String, String> {
        let mut rest = text;
        let mut written = String::new();
        while let Some(start) = rest.find(['$', '~']) {
            written.push_str(&rest[..start]);
            let name = &rest[start + 1..];
            let length = name.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(name.len());
            let (name, behind) = name.split_at(length);
            if self.is_absent && rest[start..].starts_with('~') {
                written.push_str(if name == "person" { ABSENT_USER } else { ABSENT });
            } else {
                written.push_str(&self.id(world, name).await?);
            }
            rest = behind;
        }
        written.push_str(rest);
        Ok(written)
    }

    /// An answer in which what the case is about has the absent id, whichever it had.
    pub fn masked(&self, answer: &Answer) -> Answer {
        let mut text = answer.body.to_string();
        for (name, id) in &self.ids {
            text = text.replace(id.as_str(), if name == "person" { ABSENT_USER } else { ABSENT });
        }
        Answer { status: answer.status, body: serde_json::from_str(&text).expect("still JSON") }
    }

    /// The group, if there is one, is as ann and ben have made it.
    pub async fn untouched(&self, world: &World) -> Result<(), String> {
        let Some(group) = self.ids.get("group") else { return Ok(()) };
        let group = world.rest("ann", "GET", &format!("/api/conversations/{group}"), &Value::Null).await;
        fits(
            &json!({"name": "a group", "participants": [{"id": "ann"}, {"id": "ben"}], "admins": ["ann"]}),
            &group.body,
        )?;
        let path = format!("/api/messages/conversation/{}", group.body["id"].as_str().expect("an id"));
        let history = world.rest("ann", "GET", &path, &Value::Null).await;
        let as_sent =
            json!({"content": "a text", "edited": false, "deleted": false, "isPinned": false, "reactions": []});
        let messages = history.body["messages"].as_array().ok_or("no history")?;
        messages.iter().try_for_each(|message| fits(&as_sent, message))?;
        let sent = ["message", "bens"].iter().filter(|name| self.ids.contains_key(**name)).count();
        if messages.len() == sent { Ok(()) } else { Err(format!("there are messages of others: {messages:?}")) }
    }

    /// The id of an object, which is made now unless it is there.
    async fn id(&mut self, world: &mut World, name: &str) -> Result<String, String> {
        let needed = match name {
            "message" | "bens" | "deleted" => Some("group"),
            "eves_message" => Some("eves"),
            "direct_message" => Some("direct"),
            _ => None,
        };
        let room = match needed {
            Some(needed) => Some(self.known(world, needed, None).await?),
            None => None,
        };
        self.known(world, name, room).await
    }

    async fn known(&mut self, world: &mut World, name: &str, room: Option<String>) -> Result<String, String> {
        if let Some(id) = self.ids.get(name) {
            return Ok(id.clone());
        }
        let id = make(world, name, room).await?;
        self.ids.insert(name.to_owned(), id.clone());
        Ok(id)
    }
}

/// Makes an object.
async fn make(world: &mut World, name: &str, room: Option<String>) -> Result<String, String> {
    let group = |members: &[&str]| json!({"type": "group", "participants": members, "name": "a group"});
    let message = json!({"conversationId": room, "content": "a text"});
    let (by, event, payload, id) = match name {
        "group" | "other" => ("ann", "conversation:create", group(&["ben"]), "/conversation/id"),
        "eves" => ("eve", "conversation:create", group(&["fay"]), "/conversation/id"),
        "direct" => {
            let direct = json!({"type": "direct", "participants": ["ben"]});
            ("ann", "conversation:create", direct, "/conversation/id")
        }
        "message" | "deleted" | "direct_message" => ("ann", "message:send", message, "/id"),
        "bens" => ("ben", "message:send", message, "/id"),
        "eves_message" => ("eve", "message:send", message, "/id"),
        "notification" => {
            let wish = json!({"userId": "ann", "type": "system", "title": "a title"});
            let answer = world.rest("backend", "POST", "/api/server/notifications", &wish).await;
            let id = answer.body["notification"]["id"].as_str();
            return id.map(str::to_owned).ok_or_else(|| format!("no notification: {answer:?}"));
        }
        "person" => return Ok("ann".to_owned()),
        "fresh" => return Ok(world.fresh("fresh")),
        "token" => return Ok(token::of("ann")),
        _ => panic!("there is no ${name}"),
    };
    let answer = world.event(("/", by), event, &payload).await?;
    let id = answer.body.pointer(id).and_then(Value::as_str).map(str::to_owned);
    let id = id.ok_or_else(|| format!("no {name}: {answer:?}"))?;
    if name == "deleted" {
        let gone = world.event(("/", by), "message:delete", &json!({"messageId": id})).await?;
        assert_eq!(gone.body["ok"], true, "{gone:?}");
    }
    Ok(id)
}

/// Whether `found` has everything that `pattern` has; `"*"` is anything but null.
pub fn fits(pattern: &Value, found: &Value) -> Result<(), String> {
    match (pattern, found) {
        (Value::String(any), found) if any == "*" && !found.is_null() => Ok(()),
        (Value::Object(pattern), Value::Object(found)) => pattern.iter().try_for_each(|(key, value)| {
            fits(value, found.get(key).unwrap_or(&Value::Null)).map_err(|why| format!("{key}: {why}"))
        }),
        (Value::Array(pattern), Value::Array(found)) if pattern.len() == found.len() => {
            pattern.iter().zip(found).try_for_each(|(pattern, found)| fits(pattern, found))
        }
        (pattern, found) if pattern == found => Ok(()),
        (pattern, found) => Err(format!("expected {pattern}, found {found}")),
    }
}
