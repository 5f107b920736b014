//! Payloads that are wrong in one respect, made from what the documents say a payload is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::documents::{Documents, Field};

/// A payload, the field that is wrong in it, and whether the field is merely too long.
pub struct Wrong {
    pub field: String,
    pub payload: Value,
    pub is_long: bool,
}

/// A good payload with one field after the other missing, of a foreign type, or much too long.
pub fn payloads(documents: &Documents, fields: &[Field], good: &Value, unlimited: &[&str]) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for field in fields {
        let with = |value: Value| {
            let mut payload = good.clone();
            payload[&field.name] = value;
            payload
        };
        let mut push = |field: String, payload, is_long| wrong.push(Wrong { field, payload, is_long });
        if field.is_required {
            let mut payload = good.clone();
            payload.as_object_mut().expect("an object").remove(&field.name);
            push(field.name.clone(), payload, false);
        }
        for value in foreign(documents, &field.schema) {
            // Null is as good as nothing.
            if value.is_null() && !field.is_required {
                continue;
            }
            push(field.name.clone(), with(value), false);
        }
        let schema = documents.resolved(&field.schema);
        let Some(kinds) = kinds(documents, &schema) else { continue };
        if kinds.contains("array") {
            for value in foreign(documents, &schema["items"]) {
                push(field.name.clone(), with(json!([value])), false);
            }
            if !unlimited.contains(&field.name.as_str()) {
                push(field.name.clone(), with(many(&good[&field.name])), true);
            }
        }
        if kinds.contains("string") && !unlimited.contains(&field.name.as_str()) {
            push(field.name.clone(), with(json!("x".repeat(30_000))), true);
        }
    }
    wrong
}

/// Queries that are wrong in one field.
pub fn queries(documents: &Documents, fields: &[Field]) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    for field in fields {
        let kinds = kinds(documents, &field.schema).unwrap_or_default();
        let values: &[&str] = if kinds.contains("integer") {
            &["many", "-1", "1.5", "99999999999999999999", "[]", "%00"]
        } else if is_enum(documents, &field.schema) {
            &["nope", "%F0%9F%A6%80", "%00"]
        } else {
            &["%00"]
        };
        wrong.extend(values.iter().map(|value| (field.name.clone(), format!("?{}={value}", field.name))));
    }
    wrong
}

/// Far more of what a list has.
fn many(good: &Value) -> Value {
    let one = good.get(0).cloned().unwrap_or_else(|| json!("x"));
    // Different ones, where they may be: the same one many times would be one.
    let several = (0..3000).map(|n| match &one {
        Value::String(id) if id.len() == 24 && id.chars().all(|c| c.is_ascii_hexdigit()) => {
            json!(format!("{n:012x}{}", &id[12..]))
        }
        Value::String(id) if id.len() < 8 => json!(format!("{id}{n}")),
        other => other.clone(),
    });
    several.collect()
}

/// Values of types that a schema does not have; none when it takes anything.
fn foreign(documents: &Documents, schema: &Value) -> Vec<Value> {
    let Some(kinds) = kinds(documents, schema) else { return Vec::new() };
    let deep = (0..20).fold(json!("deep"), |inner, _| json!({"a": [inner]}));
    let samples = [
        ("null", Value::Null),
        ("boolean", json!(true)),
        ("number", json!(1.5)),
        ("number", json!(1e300)),
        ("integer", json!(-1)),
        ("integer", json!(7)),
        ("string", json!("text")),
        ("array", json!(["text"])),
        ("array", json!([])),
        ("object", json!({"text": "text"})),
        ("object", json!({"_placeholder": true, "num": 0})),
        ("object", deep),
    ];
    let is_foreign = |kind: &str, value: &Value| match kind {
        "integer" if value == -1 && is_unsigned(schema) => true,
        "integer" => !kinds.contains("integer") && !kinds.contains("number"),
        kind => !kinds.contains(kind),
    };
    let mut foreign: Vec<_> =
        samples.into_iter().filter(|(kind, value)| is_foreign(kind, value)).map(|(_, value)| value).collect();
    if is_enum(documents, schema) {
        foreign.extend([json!("nope"), json!(""), json!("\u{202e}")]);
    }
    foreign
}

fn is_unsigned(schema: &Value) -> bool {
    schema["minimum"].as_f64().is_some_and(|minimum| minimum >= 0.0)
}

/// Whether a schema is a list of words.
fn is_enum(documents: &Documents, schema: &Value) -> bool {
    let schema = documents.resolved(schema);
    let is_words = |schema: &Value| {
        let words = schema["oneOf"].as_array();
        schema["enum"].is_array() || words.is_some_and(|words| words.iter().all(|word| word["const"].is_string()))
    };
    let parts = schema["anyOf"].as_array().into_iter().flatten();
    let mut parts = parts.map(|part| documents.resolved(part));
    is_words(&schema) || parts.any(|part| is_words(&part))
}

/// The JSON types that a schema has; `None` when it takes anything.
fn kinds(documents: &Documents, schema: &Value) -> Option<BTreeSet<String>> {
    let schema = documents.resolved(schema);
    let named: Vec<_> = match &schema["type"] {
        Value::String(kind) => vec![kind.clone()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    if !named.is_empty() {
        return Some(named.into_iter().collect());
    }
    if let Some(words) = schema["enum"].as_array() {
        return Some(words.iter().map(kind_of).map(str::to_owned).collect());
    }
    if !schema["const"].is_null() {
        return Some(BTreeSet::from([kind_of(&schema["const"]).to_owned()]));
    }
    let parts = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array())?;
    let mut all = BTreeSet::new();
    for part in parts {
        all.extend(kinds(documents, part)?);
    }
    Some(all)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
