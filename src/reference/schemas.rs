//! JSON schemas: made from the types, named once, read by the printers.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};

use crate::server::SchemaFn;

/// Where the documents keep named schemas.
pub(super) const PATH: &str = "#/components/schemas/";
/// A struct that has all fields of another one with this many, is that one with more fields.
const FEWEST_OF_A_BASE: usize = 4;

/// Makes schemas. What clients send and what the server sends differ: a field with a default may be left out only by clients.
pub(super) struct Maker {
    reads: SchemaGenerator,
    writes: SchemaGenerator,
}

/// Named schemas.
#[derive(Debug, Default)]
pub(super) struct Schemas(BTreeMap<String, Value>);

/// The names that have to change in what clients send, so that each name means one thing.
pub(super) struct Renamed(BTreeSet<String>);

impl Maker {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            reads: settings.clone().for_deserialize().into_generator(),
            writes: settings.for_serialize().into_generator(),
        }
    }

    /// What clients send.
    pub(super) fn read(&mut self, schema: SchemaFn) -> Value {
        schema(&mut self.reads).to_value()
    }

    /// What the server sends.
    pub(super) fn write(&mut self, schema: SchemaFn) -> Value {
        schema(&mut self.writes).to_value()
    }

    /// All schemas that were named on the way.
    pub(super) fn finish(mut self) -> (Schemas, Renamed) {
        let reads = self.reads.take_definitions(true);
        let writes = self.writes.take_definitions(true);
        let renamed = Renamed(differing(&reads, &writes));
        let mut schemas: BTreeMap<_, _> = writes.into_iter().collect();
        for (name, mut schema) in reads {
            renamed.apply(&mut schema);
            schemas.insert(renamed.name(name), schema);
        }
        (Schemas(schemas), renamed)
    }
}

/// The names that stand for different schemas in the two maps, themselves or in what they refer to.
fn differing(reads: &Map<String, Value>, writes: &Map<String, Value>) -> BTreeSet<String> {
    let both = || reads.iter().filter_map(|(name, read)| Some((name, read, writes.get(name)?)));
    let mut differing: BTreeSet<_> =
        both().filter(|(_, read, write)| read != write).map(|(name, ..)| name.clone()).collect();
    loop {
        let refers = |schema: &Value| references(schema).into_iter().any(|name| differing.contains(name));
        let more: Vec<_> = both()
            .filter(|(name, read, _)| !differing.contains(*name) && refers(read))
            .map(|(name, ..)| name.clone())
            .collect();
        if more.is_empty() {
            return differing;
        }
        differing.extend(more);
    }
}

impl Renamed {
    fn name(&self, name: String) -> String {
        if self.0.contains(&name) { format!("{name}Input") } else { name }
    }

    /// Makes a schema of what clients send refer to the new names.
    pub(super) fn apply(&self, schema: &mut Value) {
        match schema {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get_mut("$ref") {
                    let name = reference.strip_prefix(PATH).unwrap_or_default().to_owned();
                    *reference = format!("{PATH}{}", self.name(name));
                }
                object.values_mut().for_each(|value| self.apply(value));
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.apply(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

impl Schemas {
    /// The schema with this name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The name of the struct that a schema stands for: a name may stand for another one.
    pub(super) fn name<'a>(&'a self, schema: &'a Value) -> Option<&'a str> {
        let mut name = reference(schema)?;
        while let Some(next) = self.get(name).and_then(reference).filter(|next| *next != name) {
            name = next;
        }
        Some(name)
    }

    /// The schema itself, where `schema` refers to a named one.
    pub(super) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        self.name(schema).and_then(|name| self.get(name)).unwrap_or(schema)
    }

    /// What a schema says of itself: its own description goes before that of what it refers to.
    pub(super) fn description<'a>(&'a self, schema: &'a Value) -> &'a str {
        let named = reference(schema).and_then(|name| self.get(name));
        let mut described = [Some(schema), named, Some(self.resolve(schema))].into_iter().flatten();
        described.find_map(|schema| schema.get("description")?.as_str()).unwrap_or_default()
    }

    /// The names that these schemas refer to, directly and by others, with theirs.
    pub(super) fn reachable<'a>(&'a self, from: impl IntoIterator<Item = &'a Value>) -> BTreeMap<&'a str, &'a Value> {
        let mut found = BTreeMap::new();
        let mut pending: Vec<_> = from.into_iter().flat_map(references).collect();
        while let Some(name) = pending.pop() {
            if let Some((name, schema)) = self.0.get_key_value(name)
                && found.insert(name.as_str(), schema).is_none()
            {
                pending.extend(references(schema));
            }
        }
        found
    }

    /// The largest other struct whose fields this one has all: it is that one with more fields.
    pub(super) fn base<'a>(&'a self, name: &str, schema: &Value) -> Option<(&'a str, &'a Value)> {
        let fields = schema.get("properties")?.as_object()?;
        let is_base = |other: &Value| {
            let inherited = other.get("properties").and_then(Value::as_object);
            inherited.is_some_and(|inherited| {
                inherited.len() >= FEWEST_OF_A_BASE
                    && inherited.len() < fields.len()
                    && inherited.iter().all(|(field, schema)| fields.get(field) == Some(schema))
                    && inherited.keys().all(|field| is_required(other, field) == is_required(schema, field))
            })
        };
        let bases = self.0.iter().filter(|(other, candidate)| *other != name && is_base(candidate));
        let largest = bases.max_by_key(|(_, schema)| schema.get("properties").and_then(Value::as_object).map(Map::len));
        largest.map(|(name, schema)| (name.as_str(), schema))
    }
}

/// The fields of a struct: those that are always there in their order, then the others by name.
pub(super) fn fields(schema: &Value) -> Vec<(&str, &Value, bool)> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let required = required(schema);
    let first = required.iter().filter_map(|name| Some((*name, properties.get(*name)?, true)));
    let others = properties.iter().filter(|(name, _)| !required.contains(&name.as_str()));
    first.chain(others.map(|(name, schema)| (name.as_str(), schema, false))).collect()
}

/// The name that a schema stands for.
pub(super) fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(PATH)
}

fn required(schema: &Value) -> Vec<&str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn is_required(schema: &Value, field: &str) -> bool {
    required(schema).contains(&field)
}

/// All names in a schema.
pub(super) fn references(schema: &Value) -> Vec<&str> {
    match schema {
        Value::Object(object) => reference(schema).into_iter().chain(object.values().flat_map(references)).collect(),
        Value::Array(values) => values.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
