//! Asks what the rows say, and collects what came out otherwise.

use hobnob::codes::ErrorCode;
use serde_json::{Value, json};

use super::{
    documents::Documents,
    row::{Access, Case, Expected, Row},
    scene::{ABSENT, Answer, Scene, World, fits},
    wrong,
};
use crate::support::packets::Packets;

/// Texts that stand for no id, as they come in a path.
const NO_IDS: &[&str] = &["x", "%00", "..%2f..%2fetc", "%F0%9F%A6%80", "null", "[object%20Object]"];
/// The same for users, whose ids may be almost anything.
const NO_USERS: &[&str] = &["%00", "a%E2%80%AEb", "a%0Ab"];

/// One row, asked in one namespace.
pub struct Run<'a> {
    pub world: &'a mut World,
    pub documents: &'a Documents,
    pub row: &'a Row,
    pub namespace: &'static str,
    pub failures: Vec<String>,
}

/// Asks all cases of these rows of a server; what is wrong is told all at once.
pub async fn run(rows: &[Row], variables: &[(&str, &str)]) {
    let documents = Documents::read();
    let mut world = World::start(variables).await;
    let mut failures = Vec::new();
    for row in rows {
        for namespace in row.namespaces {
            let world = &mut world;
            let mut run = Run { world, documents: &documents, row, namespace, failures: Vec::new() };
            run.all().await;
            failures.append(&mut run.failures);
        }
    }
    let overheard = world.overheard().await;
    let expected = |name: &String| ["session:ready", "notifications:count"].contains(&name.as_str());
    let overheard: Vec<_> = overheard.into_iter().filter(|name| !expected(name)).collect();
    assert!(failures.is_empty(), "{} cases came out otherwise:\n{}", failures.len(), failures.join("\n"));
    assert!(overheard.is_empty(), "somebody who shares nothing with anybody has heard {overheard:?}");
    world.server.calm_log();
}

impl Run<'_> {
    async fn all(&mut self) {
        let mut names = vec![self.row.name.to_owned()];
        if self.row.route().is_none() {
            names.extend(self.documents.other_names("receive", self.row.name));
        }
        for name in &names {
            for case in self.row.success.tried() {
                let outcome = self.succeeds(name, case).await;
                self.note(&format!("success as {name}"), case, outcome);
            }
        }
        if let Some(answer) = self.row.answer {
            let outcome = self.answered_by_event(answer).await;
            self.note_text("success without an ack", outcome);
        }
        for case in self.row.refusal.tried() {
            let outcome = self.tried(case, "ann", false).await;
            self.note("refusal", case, outcome.map(drop));
        }
        for case in self.row.foreign.tried() {
            let outcome = self.foreign(case).await;
            self.note("someone else's object", case, outcome);
        }
        for case in self.row.bad.tried() {
            let outcome = self.tried(case, "ann", false).await;
            self.note("bad input", case, outcome.map(drop));
        }
        let outcome = if self.row.route().is_some() { self.wrong_requests().await } else { self.wrong_events().await };
        self.note_text("bad input", outcome);
        let outcome = if self.row.route().is_some() { self.credentials().await } else { self.not_signed_in().await };
        self.note_text("refusal", outcome);
    }

    /// Sends the request of a case once everything that it needs is there.
    async fn send(&mut self, name: &str, case: &Case, by: &'static str, scene: &mut Scene) -> Result<Answer, String> {
        let by = case.by.unwrap_or(by);
        for told in &case.told {
            self.world.client(self.namespace, told.who).await;
        }
        for step in &case.before {
            let payload = scene.json(self.world, &step.payload).await?;
            let done = match step.name.split_once(' ') {
                Some((method, path)) => {
                    let path = scene.text(self.world, path).await?;
                    self.world.rest(step.by, method, &path, &payload).await
                }
                None => self.world.event(("/", step.by), step.name, &payload).await?,
            };
            if done.code().is_some() {
                return Err(format!("before it, {} was refused: {done:?}", step.name));
            }
        }
        let payload = scene.json(self.world, &case.payload).await?;
        match name.split_once(' ') {
            Some((method, path)) => {
                let id = scene.text(self.world, case.at).await?;
                let query = scene.text(self.world, case.query).await?;
                let path = format!("{}{query}", path.replace("{id}", &id));
                Ok(self.world.rest(self.sender(by), method, &path, &payload).await)
            }
            None => self.world.event((self.namespace, by), name, &payload).await,
        }
    }

    /// Who shows which credentials.
    fn sender(&self, by: &'static str) -> &'static str {
        match self.row.access {
            Access::User => by,
            Access::Backend => "backend",
            Access::Anyone => "",
        }
    }

    async fn succeeds(&mut self, name: &str, case: &Case) -> Result<(), String> {
        let mut scene = Scene::new(false);
        let answer = self.send(name, case, "ann", &mut scene).await?;
        self.check(&answer, case, &mut scene).await?;
        if let (Some((method, path)), Some(status)) = (self.row.route(), answer.status) {
            let documented = self.documents.statuses(method, path);
            let expected = case.status.map_or(documented, |status| vec![status]);
            if !expected.contains(&status) {
                return Err(format!("the status is {status}, the document says {expected:?}"));
            }
            if answer.body.is_object() && self.row.access != Access::Anyone && !self.documents.has_answer(method, path)
            {
                return Err(format!("the document does not know of the answer {}", answer.body));
            }
        }
        Ok(())
    }

    /// Without an ack the answer is an event.
    async fn answered_by_event(&mut self, answer: &str) -> Result<(), String> {
        let (good, _) = self.good().await?;
        let place = (self.namespace, "ann");
        self.world.client(place.0, place.1).await.emit(self.row.name, &good);
        self.world.hears(place, answer, &json!({"ok": true})).await
    }

    /// Sends the request of a case and checks the answer.
    async fn tried(&mut self, case: &Case, by: &'static str, is_absent: bool) -> Result<Answer, String> {
        let mut scene = Scene::new(is_absent);
        let answer = self.send(self.row.name, case, by, &mut scene).await?;
        self.check(&answer, case, &mut scene).await?;
        Ok(scene.masked(&answer))
    }

    /// P32: what is somebody else's is answered as what does not exist, to the letter, and nothing happens to it.
    async fn foreign(&mut self, case: &Case) -> Result<(), String> {
        let mut scene = Scene::new(false);
        let there = self.send(self.row.name, case, "eve", &mut scene).await?;
        self.check(&there, case, &mut scene).await?;
        let there = scene.masked(&there);
        let nowhere = self.tried(case, "eve", true).await.map_err(|why| format!("for an absent one: {why}"))?;
        if there != nowhere {
            return Err(format!("{there:?}, and for an absent one {nowhere:?}"));
        }
        scene.untouched(self.world).await
    }

    async fn check(&mut self, answer: &Answer, case: &Case, scene: &mut Scene) -> Result<(), String> {
        match &case.expected {
            Expected::Holds(pattern) => {
                let pattern = scene.json(self.world, pattern).await?;
                if let Some(code) = answer.code() {
                    return Err(format!("refused with {code}: {}", answer.body));
                }
                fits(&pattern, &answer.body).map_err(|why| format!("{why}, in {}", answer.body))?;
            }
            Expected::Code(code) => refused(answer, &[code])?,
            Expected::Field(code, field) => refused(answer, &[code]).and_then(|()| names(answer, field))?,
        }
        for told in &case.told {
            let payload = scene.json(self.world, &told.payload).await?;
            self.world.hears((self.namespace, told.who), told.event, &payload).await?;
        }
        Ok(())
    }

    /// The first success, with the ids of what it names.
    async fn good(&mut self) -> Result<(Value, String), String> {
        let case = self.row.success.tried().first().expect("a success").clone();
        let mut scene = Scene::new(false);
        let payload = scene.json(self.world, &case.payload).await?;
        let path = self.row.route().map_or("", |(_, path)| path);
        let id = scene.text(self.world, case.at).await?;
        Ok((if payload.is_null() { json!({}) } else { payload }, path.replace("{id}", &id)))
    }

    async fn wrong_events(&mut self) -> Result<(), String> {
        let (good, _) = self.good().await?;
        let place = (self.namespace, "ann");
        let mut failures = Vec::new();
        for payload in [json!([]), json!([good]), json!("text"), json!(5), json!(true), json!([[[[]]]])] {
            let answer = self.world.event(place, self.row.name, &payload).await?;
            let outcome = match (self.row.takes_anything, answer.code()) {
                (true, None) => Ok(()),
                (true, Some(code)) => Err(format!("refused with {code}")),
                (false, _) => refused(&answer, &["invalid_payload"]).and_then(|()| names(&answer, "payload")),
            };
            failures.extend(outcome.err().map(|why| format!("{payload}: {why}")));
        }
        let fields = self.documents.payload(self.row.name);
        for wrong in wrong::payloads(self.documents, &fields, &good, self.row.unlimited) {
            let answer = self.world.event(place, self.row.name, &wrong.payload).await?;
            failures.extend(self.complains(&answer, &wrong).err());
        }
        if !self.row.takes_anything {
            // Without an ack the refusal is an event.
            self.world.client(place.0, place.1).await.emit(self.row.name, &json!([]));
            let told = json!({"event": self.row.name, "code": "invalid_payload", "field": "payload"});
            self.world.hears(place, "request-failed", &told).await?;
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n    ")) }
    }

    /// A wrong payload has to be refused, and the field named.
    fn complains(&self, answer: &Answer, wrong: &wrong::Wrong) -> Result<(), String> {
        let codes: &[&str] = match (wrong.is_long, self.row.long_code) {
            (true, Some(code)) if answer.code() == Some(code) => return Ok(()),
            (true, _) if answer.status == Some(413) => return refused(answer, &["too_large"]),
            (true, _) => &["too_long", "invalid_payload"],
            (false, _) => &["invalid_payload"],
        };
        let outcome = refused(answer, codes).and_then(|()| names(answer, &wrong.field));
        outcome.map_err(|why| {
            let text: String = wrong.payload.to_string().chars().take(200).collect();
            format!("{} in {text}: {why}", wrong.field)
        })
    }

    async fn wrong_requests(&mut self) -> Result<(), String> {
        let (method, path) = self.row.route().expect("a route");
        let (good, concrete) = self.good().await?;
        let by = self.sender("ann");
        let mut failures = Vec::new();
        if let Some(fields) = self.documents.body(method, path) {
            self.wrong_bodies((method, &concrete), &mut failures).await;
            for wrong in wrong::payloads(self.documents, &fields, &good, self.row.unlimited) {
                let answer = self.world.rest(by, method, &concrete, &wrong.payload).await;
                failures.extend(self.complains(&answer, &wrong).err());
            }
        }
        for (field, query) in wrong::queries(self.documents, &self.documents.query(method, path)) {
            let answer = self.world.rest(by, method, &format!("{concrete}{query}"), &Value::Null).await;
            let outcome = refused(&answer, &["invalid_payload"]).and_then(|()| names(&answer, &field));
            failures.extend(outcome.err().map(|why| format!("{query}: {why}")));
        }
        if path.contains("{id}") {
            let body = if self.documents.body(method, path).is_some() { good } else { Value::Null };
            let (ids, code) = match self.row.access {
                Access::Backend => (NO_USERS, "invalid_payload"),
                Access::Anyone | Access::User => (NO_IDS, "not_found"),
            };
            let no_text = self.world.rest(by, method, &path.replace("{id}", "%F0"), &body).await;
            failures.extend(refused(&no_text, &["not_found"]).err().map(|why| format!("the id %F0: {why}")));
            let absent = self.world.rest(by, method, &path.replace("{id}", ABSENT), &body).await;
            for id in ids {
                let answer = self.world.rest(by, method, &path.replace("{id}", id), &body).await;
                let same = || match code {
                    "not_found" if answer != absent => Err(format!("{answer:?}, and for an absent one {absent:?}")),
                    _ => Ok(()),
                };
                let outcome = refused(&answer, &[code]).and_then(|()| same());
                failures.extend(outcome.err().map(|why| format!("the id {id}: {why}")));
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n    ")) }
    }

    /// Bodies that are no JSON object, or too much.
    async fn wrong_bodies(&mut self, (method, path): (&str, &str), failures: &mut Vec<String>) {
        let large = json!({"a": "a".repeat(65_536)}).to_string();
        for (kind, body, code, field) in [
            ("application/json", &b"{"[..], "invalid_payload", "payload"),
            ("application/json", b"", "invalid_payload", "payload"),
            ("application/json", b"[]", "invalid_payload", "payload"),
            ("application/json", b"null", "invalid_payload", "payload"),
            ("application/json", b"\"text\"", "invalid_payload", "payload"),
            ("application/json", b"\xff\xfe", "invalid_payload", "payload"),
            ("application/json", b"{}x", "invalid_payload", ""),
            ("text/plain", b"{}", "invalid_payload", "Content-Type"),
            ("application/x-www-form-urlencoded", b"a=b", "invalid_payload", "Content-Type"),
            ("application/json", large.as_bytes(), "too_large", ""),
        ] {
            let credentials = self.world.credentials(self.sender("ann"));
            let mut headers: Vec<_> = credentials.iter().map(|(name, value)| (*name, value.as_str())).collect();
            headers.push(("Content-Type", kind));
            let answer = self.world.raw(method, path, &headers, body).await;
            let outcome = refused(&answer, &[code]).and_then(|()| names(&answer, field));
            let text: String = String::from_utf8_lossy(body).chars().take(40).collect();
            failures.extend(outcome.err().map(|why| format!("{kind} {text:?}: {why}")));
        }
    }

    /// Without credentials, with those of somebody else, and with bad ones.
    async fn credentials(&mut self) -> Result<(), String> {
        let (method, _) = self.row.route().expect("a route");
        let (good, path) = self.good().await?;
        let key = self.world.credentials("backend").remove(0).1;
        let token = self.world.credentials("ann").remove(0).1;
        let none: &[(&str, &str)] = &[];
        let tried: &[(&[(&str, &str)], &str)] = match self.row.access {
            Access::Anyone => return Ok(()),
            Access::User => &[
                (none, "token_missing"),
                (&[("X-Api-Key", &key)], "token_missing"),
                (&[("Authorization", "Bearer x")], "token_malformed"),
            ],
            Access::Backend => &[
                (none, "unauthorized"),
                (&[("Authorization", &token)], "unauthorized"),
                (&[("X-Api-Key", "hk_0000000000000000_0")], "unauthorized"),
            ],
        };
        for (headers, code) in tried {
            let headers = [headers, &[("Content-Type", "application/json")][..]].concat();
            let answer = self.world.raw(method, &path, &headers, good.to_string().as_bytes()).await;
            refused(&answer, &[code]).map_err(|why| format!("with {headers:?}: {why}"))?;
        }
        Ok(())
    }

    /// Whoever has not joined the namespace is not answered, and his session ends.
    async fn not_signed_in(&mut self) -> Result<(), String> {
        let (good, _) = self.good().await?;
        let mut stranger = Packets::open(self.world.server.address).await;
        let prefix = if self.namespace == "/" { String::new() } else { format!("{},", self.namespace) };
        stranger.send(&format!("42{prefix}1{}", json!([self.row.name, good]))).await;
        let closed = stranger.closed().await;
        if closed.packets.is_empty() { Ok(()) } else { Err(format!("a stranger was answered: {:?}", closed.packets)) }
    }

    fn note(&mut self, kind: &str, case: &Case, outcome: Result<(), String>) {
        let text: String = format!("{} {}{}", case.payload, case.at, case.query).chars().take(300).collect();
        self.note_text(kind, outcome.map_err(|why| format!("{text}: {why}")));
    }

    fn note_text(&mut self, kind: &str, outcome: Result<(), String>) {
        let (name, namespace) = (self.row.name, self.namespace);
        self.failures.extend(outcome.err().map(|why| format!("- {name} in {namespace}, {kind}: {why}")));
    }
}

/// The answer is a whole refusal with one of these codes, and a route's with the status of the code.
pub fn refused(answer: &Answer, codes: &[&str]) -> Result<(), String> {
    let found = answer.code().ok_or_else(|| format!("it succeeded: {}", answer.body))?;
    let code = ErrorCode::ALL.iter().find(|code| code.name() == found);
    let code = code.ok_or_else(|| format!("no code of the list in {answer:?}"))?;
    if !codes.contains(&found) {
        return Err(format!("expected {codes:?}, found {}", answer.body));
    }
    if answer.status.is_some_and(|status| status != code.http_status()) {
        return Err(format!("the status does not go with the code: {answer:?}"));
    }
    match answer.body["error"].as_str() {
        Some(error) if !error.is_empty() => {}
        _ => return Err(format!("there is no sentence in {}", answer.body)),
    }
    if found == "too_long" && !answer.body["limit"].is_u64() {
        return Err(format!("there is no limit in {}", answer.body));
    }
    Ok(())
}

/// The refusal begins with the field, and has it on its own as well.
fn names(answer: &Answer, field: &str) -> Result<(), String> {
    let (error, named) = (answer.body["error"].as_str(), answer.body["field"].as_str());
    let begins = |text: Option<&str>| text.is_some_and(|text| text.starts_with(field));
    if field.is_empty() || (begins(error) && begins(named)) {
        return Ok(());
    }
    Err(format!("it does not name {field}: {}", answer.body))
}
