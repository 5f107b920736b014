//! The printers, on a made-up registry, and on nothing of the features.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;
use crate::server::{ClientEvent, ClientEventDoc, ServerEvent, ServerEventDoc};

/// Waters a plant. Asks `*/` nobody.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema matters")]
struct Water {
    /// Which one.
    plant_id: String,
    /// How much | in litres.
    #[serde(default)]
    litres: Option<f64>,
    #[serde(default)]
    can: Can,
}

/// What holds water.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Can {
    /// A small one.
    #[default]
    Small,
    /// A large one.
    Large,
}

/// A plant.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
struct Plant {
    id: String,
    name: Option<String>,
    height: u32,
    leaves: Vec<Option<u8>>,
    marks: BTreeMap<String, bool>,
}

/// Puts a plant somewhere.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema matters")]
struct Place {
    plant: Plant,
}

#[derive(Serialize, JsonSchema)]
struct Nothing {}

impl ClientEvent for Water {
    const NAME: &'static str = "plant:water";
    const ALIASES: &'static [&'static str] = &["water"];
    const ANSWER: Option<&'static str> = Some("watered");
    type Ack = Plant;
}

impl ClientEvent for Place {
    const NAME: &'static str = "plant:place";
    type Ack = Nothing;
}

/// A plant has grown; to everybody.
#[derive(Serialize, JsonSchema)]
struct Grown {
    #[serde(flatten)]
    plant: Plant,
    by: u32,
}

impl ServerEvent for Grown {
    const NAME: &'static str = "plant:grown";
    const TWINS: &'static [&'static str] = &["grown"];
}

fn reference() -> Reference {
    let takes = vec![ClientEventDoc::of::<Water>(), ClientEventDoc::of::<Place>()];
    let sends = vec![ServerEventDoc::of::<Grown>()];
    let namespaces = [
        NamespaceDoc { name: "/", takes: takes.clone(), sends: sends.clone() },
        NamespaceDoc { name: "/garden", takes, sends },
        NamespaceDoc { name: "/shed", takes: Vec::new(), sends: vec![ServerEventDoc::of::<Grown>()] },
    ];
    let endpoints = [
        Endpoint::get("/api/plants/{id}", "One plant.").answer::<Plant>(),
        Endpoint::put("/api/plants/{id}", "Waters | it.").body::<Water>().access(Access::Backend),
        Endpoint::get("/api/plants", "All plants.").params::<Water>().answer::<Vec<Plant>>(),
    ];
    Reference::new(&namespaces, &[&endpoints])
}

#[track_caller]
fn assert_has(text: &str, part: &str) {
    assert!(text.contains(part), "no\n{part}\nin\n{text}");
}

/// Every `$ref` in a document leads somewhere.
#[track_caller]
fn assert_resolves(document: &Value, part: &Value) {
    match part {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("within the document");
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            object.values().for_each(|value| assert_resolves(document, value));
        }
        Value::Array(values) => values.iter().for_each(|value| assert_resolves(document, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn types_tell_how_each_event_is_sent_and_heard() {
    let reference = reference();
    let types = reference.types();
    assert_has(types, "    /** Waters a plant. Asks `* /` nobody. */\n    'plant:water': Call<Water, Plant>;");
    assert_has(types, "    /** Old name of `plant:water`. */\n    'water': Call<Water, Plant>;");
    assert_has(types, "'plant:place': Call<Place, Nothing>;");
    assert_has(types, "'plant:grown': (payload: Grown) => void;");
    assert_has(types, "'grown': (payload: Grown) => void;");
    assert_has(types, "'watered': (payload: { ok: true } & Plant) => void;");
    assert_has(types, "export type GardenClientToServerEvents = ClientToServerEvents;");
    assert_has(types, "export type GardenServerToClientEvents = ServerToClientEvents;");
    assert_has(types, "export type ShedServerToClientEvents = Omit<ServerToClientEvents, 'watered'>;");
}

#[test]
fn types_follow_the_schema() {
    let reference = reference();
    let types = reference.types();
    assert_has(types, "    /** Which one. */\n    plantId: string;\n");
    assert_has(types, "    litres?: number | null;\n");
    assert_has(
        types,
        "export type Can =\n    /** A small one. */\n    | 'small'\n    /** A large one. */\n    | 'large';",
    );
    assert_has(types, "    leaves: (number | null)[];\n    marks: Record<string, boolean>;\n");
    assert_has(types, "export interface Grown extends Plant {\n    by: number;\n}");
    assert_has(types, "export interface Refused {");
    assert_has(types, "    | 'token_expired'");
}

#[test]
fn what_clients_may_leave_out_has_another_name_than_what_the_server_always_sends() {
    let reference = reference();
    let types = reference.types();
    assert_has(types, "    plant: PlantInput;\n");
    assert_has(types, "export interface Plant {\n    id: string;\n    name: string | null;\n");
    assert_has(types, "export interface PlantInput {\n    height?: number;\n    id?: string;\n");
}

#[test]
fn openapi_has_every_route_with_parameters_and_credentials() {
    let reference = reference();
    let document = parse(reference.openapi());
    assert_resolves(&document, &document);
    let get = &document["paths"]["/api/plants/{id}"]["get"];
    assert_eq!(get["parameters"][0]["name"], "id");
    assert_eq!(get["security"][0]["bearer"], serde_json::json!([]));
    assert_eq!(get["operationId"], "getApiPlantsId");
    let put = &document["paths"]["/api/plants/{id}"]["put"];
    assert_eq!(put["security"], serde_json::json!([{"apiKey": []}]));
    assert_eq!(put["requestBody"]["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Water");
    let query = document["paths"]["/api/plants"]["get"]["parameters"].as_array().expect("parameters");
    let names: Vec<_> = query.iter().map(|parameter| (&parameter["name"], &parameter["required"])).collect();
    assert_eq!(names[0], (&Value::from("plantId"), &Value::from(true)));
    assert_eq!(names.len(), 3);
    assert!(document["paths"]["/types.d.ts"]["get"].is_object(), "the reference is a part of itself");
    assert!(document["components"]["schemas"].get("Grown").is_none(), "events are elsewhere");
}

#[test]
fn asyncapi_has_every_event_with_its_answer() {
    let reference = reference();
    let document = parse(reference.asyncapi());
    assert_resolves(&document, &document);
    assert_eq!(document["channels"]["garden"]["address"], "/garden");
    let operation = &document["operations"]["default.receive.plant.water"];
    assert_eq!(operation["action"], "receive");
    assert_eq!(operation["reply"]["messages"][0]["$ref"], "#/channels/default/messages/ack.plant.water");
    assert_eq!(document["operations"]["garden.send.plant.grown"]["action"], "send");
    let message = &document["components"]["messages"]["receive.plant.water"];
    assert_eq!(message["x-old-names"], serde_json::json!(["water"]));
    assert_eq!(document["components"]["messages"]["send.plant.grown"]["x-twins"], serde_json::json!(["grown"]));
}

#[test]
fn the_text_has_a_row_for_each_event_and_route() {
    let reference = reference();
    let text = reference.events();
    assert_has(text, "### Sent in `/`, `/garden`");
    assert_has(
        text,
        "| `plant:water`, old name `water` | Waters a plant. Asks `*/` nobody. | `plantId`: `string`. Which one.<br>",
    );
    assert_has(text, "`litres?`: `number \\| null`. How much \\| in litres.");
    assert_has(text, "| `plant:grown`, also as `grown` | A plant has grown; to everybody. |");
    assert_has(
        text,
        "| `watered` | A plant. The answer to `plant:water` without an ack. | `ok`: `true`<br>the fields of [Plant](#plant) |",
    );
    assert_has(text, "| `PUT /api/plants/{id}` | the backend | `{plantId, can?, litres?}` |  | Waters \\| it. |");
    assert_has(text, "### Can\n\nWhat holds water.\n\n- `'small'`: A small one.\n");
}

#[test]
fn the_same_registry_gives_the_same_text() {
    let (one, other) = (reference(), reference());
    assert_eq!(one.openapi(), other.openapi());
    assert_eq!(one.asyncapi(), other.asyncapi());
    assert_eq!(one.types(), other.types());
    assert_eq!(one.events(), other.events());
}

#[tokio::test]
async fn a_document_is_not_sent_again_to_whoever_has_it() {
    let document = reference().types;
    let first = show(State(Arc::clone(&document)), HeaderMap::new()).await;
    assert_eq!(first.status(), StatusCode::OK);
    let tag = first.headers()[header::ETAG].clone();
    let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
    assert_eq!(show(State(document), headers).await.status(), StatusCode::NOT_MODIFIED);
}
