//! Events and routes for people: `docs/events.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::Value;

use super::{
    model::{Model, Route, Sent, Taken},
    one_line,
    schemas::{Schemas, fields, reference, references},
    typescript::type_of,
};
use crate::server::Access;

/// What holds for all events.
const HEAD: &str = include_str!("introduction.md");

/// What holds for all routes.
const REST: &str = include_str!("rest.md");

/// A struct with this many fields that is the payload of several events has a section of its own.
const FEWEST_OF_A_SECTION: usize = 4;

/// The text.
pub(super) fn print(model: &Model) -> String {
    let mut text = HEAD.to_owned();
    let objects = Objects::of(model);
    text.push_str("\n## Client to server\n");
    for (namespaces, events) in by_namespaces(model.taken()) {
        write!(
            text,
            "\n### Sent in {namespaces}\n\n| event | what it does | payload | ack, beside `ok` |\n|---|---|---|---|\n"
        )
        .ok();
        for event in events {
            text.push_str(&objects.taken(event));
        }
    }
    text.push_str("\n## Server to client\n");
    for (namespaces, events) in by_namespaces(model.sent()) {
        write!(text, "\n### Received in {namespaces}\n\n| event | what has happened, and who is told | payload |\n|---|---|---|\n").ok();
        for event in events {
            text.push_str(&objects.sent(event));
        }
    }
    text.push_str("\n## Objects\n");
    for (name, schema) in &objects.named {
        text.push_str(&objects.object(name, schema));
    }
    text.push('\n');
    text.push_str(REST);
    let mut subjects: BTreeMap<&str, Vec<&Route>> = BTreeMap::new();
    for route in &model.routes {
        subjects.entry(subject(route.path)).or_default().push(route);
    }
    for (subject, routes) in subjects {
        write!(text, "\n### {subject}\n\n| route | who may | takes | answer | what it does |\n|---|---|---|---|---|\n")
            .ok();
        for route in routes {
            text.push_str(&objects.route(route));
        }
    }
    text
}

/// What a route is about: the first word after `/api`.
pub(super) fn subject(path: &str) -> &str {
    path.strip_prefix("/api/").map_or("operators", |rest| rest.split('/').next().unwrap_or(rest))
}

/// Events by the namespaces that they belong to, in the order of the namespaces' first events.
fn by_namespaces<E>(events: Vec<(E, Vec<&'static str>)>) -> BTreeMap<String, Vec<E>> {
    let mut groups: BTreeMap<String, Vec<E>> = BTreeMap::new();
    for (event, namespaces) in events {
        let names: Vec<_> = namespaces.iter().map(|name| format!("`{name}`")).collect();
        groups.entry(names.join(", ")).or_default().push(event);
    }
    groups
}

/// The types with a section of their own: those that are within others, and payloads that several events share.
struct Objects<'a> {
    named: BTreeMap<&'a str, &'a Value>,
    schemas: &'a Schemas,
}

impl<'a> Objects<'a> {
    fn of(model: &'a Model) -> Self {
        let (taken, sent) = (model.taken(), model.sent());
        let payloads = taken.iter().flat_map(|(event, _)| [&event.payload, &event.ack]);
        let payloads: Vec<_> = payloads.chain(sent.iter().map(|(event, _)| &event.payload)).collect();
        let schemas = &model.schemas;
        // How often each struct is a whole payload, ack or body.
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        let bodies = model.routes.iter().filter_map(|route| route.body.as_ref());
        for name in payloads.iter().copied().chain(bodies).filter_map(|payload| schemas.name(payload)) {
            *uses.entry(name).or_default() += 1;
        }
        let mut named = schemas.reachable(payloads);
        // Another name for a struct needs no section, and does not make the struct a part of something.
        named.retain(|name, schema| reference(schema).is_none() && *name != "ErrorCode");
        let parts: BTreeSet<_> = named.values().flat_map(|schema| references(schema)).collect();
        named.retain(|name, schema| {
            let is_repeated = uses.get(name).is_some_and(|times| *times > 1);
            parts.contains(name) || (is_repeated && fields(schema).len() >= FEWEST_OF_A_SECTION)
        });
        Self { named, schemas }
    }

    fn taken(&self, event: &Taken) -> String {
        let names = names(event.name, "old name", event.aliases);
        let what = one_line(self.schemas.description(&event.payload));
        format!("| {names} | {} | {} | {} |\n", cell(&what), self.cells(&event.payload), self.cells(&event.ack))
    }

    fn sent(&self, event: &Sent) -> String {
        let names = names(event.name, "also as", event.twins);
        let mut what = one_line(self.schemas.description(&event.payload));
        let mut payload = self.cells(&event.payload);
        if let Some(request) = event.answers {
            write!(what, " The answer to `{request}` without an ack.").ok();
            payload = format!("`ok`: `true`<br>{payload}");
        }
        format!("| {names} | {} | {payload} |\n", cell(&what))
    }

    /// The fields of a payload, each on a line of its cell.
    fn cells(&self, schema: &Value) -> String {
        let name = self.schemas.name(schema).unwrap_or_default();
        if self.named.contains_key(name) {
            return format!("the fields of {}", link(name));
        }
        let schema = self.schemas.resolve(schema);
        if schema.get("properties").is_none() {
            let is_empty = schema.get("type").is_some_and(|kind| kind == "object");
            return if is_empty { String::new() } else { code(&bare_type(schema)) };
        }
        let base = self.schemas.base(name, schema).filter(|(base, _)| self.named.contains_key(base));
        let inherited = base.map_or_else(Vec::new, |(_, schema)| fields(schema));
        let all = base.map(|(base, _)| format!("the fields of {}", link(base)));
        let own = fields(schema).into_iter().filter(|(field, ..)| inherited.iter().all(|(other, ..)| other != field));
        let own = own.map(|(name, field, required)| self.field(name, field, required));
        let mut lines: Vec<_> = all.into_iter().chain(own).collect();
        if schema.get("additionalProperties").is_some_and(|more| more != &Value::Bool(false)) {
            lines.push("details of the code".to_owned());
        }
        lines.join("<br>")
    }

    fn field(&self, name: &str, field: &Value, required: bool) -> String {
        let mark = if required { "" } else { "?" };
        let kind = bare_type(field);
        let element = kind.strip_suffix("[]").unwrap_or(&kind);
        let kind = match self.named.contains_key(element) {
            true if element.len() < kind.len() => format!("{}[]", link(element)),
            true => link(element),
            false => code(&kind),
        };
        // The fields of a struct say what they are; what their types are is said once, elsewhere.
        let text = cell(&one_line(field.get("description").and_then(Value::as_str).unwrap_or_default()));
        if text.is_empty() { format!("`{name}{mark}`: {kind}") } else { format!("`{name}{mark}`: {kind}. {text}") }
    }

    fn object(&self, name: &str, schema: &Value) -> String {
        let mut text = format!("\n### {name}\n\n{}\n", one_line(self.schemas.description(schema)));
        if schema.get("properties").is_some() {
            text.push_str("\n| field | type | what it is |\n|---|---|---|\n");
            for (field, schema, required) in fields(schema) {
                let mark = if required { "" } else { "?" };
                let what = schema.get("description").and_then(Value::as_str).unwrap_or_default();
                writeln!(text, "| `{field}{mark}` | {} | {} |", code(&bare_type(schema)), cell(&one_line(what))).ok();
            }
            return text;
        }
        let variants = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(*key)).and_then(Value::as_array);
        match variants {
            Some(variants) => {
                text.push('\n');
                for variant in variants {
                    let what = one_line(variant.get("description").and_then(Value::as_str).unwrap_or_default());
                    let separator = if what.is_empty() { "" } else { ": " };
                    writeln!(text, "- `{}`{separator}{what}", bare_type(variant)).ok();
                }
            }
            None => {
                writeln!(text, "\n`{}`", bare_type(schema)).ok();
            }
        }
        text
    }

    fn route(&self, route: &Route) -> String {
        let who = match route.access {
            Access::Anyone => "anyone",
            Access::User => "users",
            Access::Backend => "the backend",
        };
        let query = route.params.as_ref().map(|schema| {
            let fields = fields(self.schemas.resolve(schema));
            let names: Vec<_> = fields.iter().map(|(name, ..)| format!("{name}=")).collect();
            format!("`?{}`", names.join("&"))
        });
        let takes: Vec<_> = query.into_iter().chain(route.body.as_ref().map(|body| self.brief(body))).collect();
        let mut answer = route.answer.as_ref().map(|answer| self.brief(answer)).unwrap_or_default();
        if route.status != 200 {
            answer = format!("{} {answer}", route.status);
        }
        let (takes, answer, path, method) = (takes.join(" "), answer.trim_end(), route.path, &route.method);
        format!("| `{method} {path}` | {who} | {takes} | {answer} | {} |\n", cell(&one_line(route.summary)))
    }

    /// A type by its name if it has a section, else by the names of its fields.
    fn brief(&self, schema: &Value) -> String {
        if let Some(name) = self.schemas.name(schema).filter(|name| self.named.contains_key(name)) {
            return link(name);
        }
        if let Some(items) = schema.get("items") {
            return format!("{}[]", self.brief(items));
        }
        let schema = self.schemas.resolve(schema);
        let fields = fields(schema);
        if fields.is_empty() {
            return code(&bare_type(schema));
        }
        let names: Vec<_> =
            fields.iter().map(|(name, _, required)| format!("{name}{}", if *required { "" } else { "?" })).collect();
        format!("`{{{}}}`", names.join(", "))
    }
}

/// The name of a type as a link to its section.
fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_ascii_lowercase())
}

/// A name and its others.
fn names(name: &str, what: &str, others: &[&str]) -> String {
    let others: Vec<_> = others.iter().map(|other| format!("`{other}`")).collect();
    if others.is_empty() { format!("`{name}`") } else { format!("`{name}`, {what} {}", others.join(", ")) }
}

/// A type on one line, without the descriptions in it.
fn bare_type(schema: &Value) -> String {
    one_line(&type_of(&bare(schema), "")).replace("; }", " }")
}

/// A schema without descriptions. A field may be named `description`: that is no text but a schema.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, value)| !(*key == "description" && value.is_string()));
            Value::Object(kept.map(|(key, value)| (key.clone(), bare(value))).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(bare).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}

/// Text that stands in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Code that stands in a table.
fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}
