//! Edit locks.

use serde_json::{Value, json};

use super::row::{CHAT, Row, ask, event};

pub fn rows() -> Vec<Row> {
    let this = |id: &str| -> Value { json!({"messageId": id}) };
    let lock = event("message:lock", CHAT)
        .success(
            ask(this("$message"))
                .holds(json!({"messageId": "$message", "lockedBy": "ann", "expiresAt": "*", "fence": "*"}))
                .told("ben", "message:locked", json!({"messageId": "$message", "lockedBy": "ann", "advisory": false})),
        )
        .success(
            ask(this("$message"))
                .by("ben")
                .after("ben", "message:lock", this("$message"))
                .holds(json!({"lockedBy": "ben"})),
        )
        .refusal(ask(this("$message")).by("ben").after("ann", "message:lock", this("$message")).code("locked").told(
            "ben",
            "lock-failed",
            json!({"messageId": "$message", "lockedBy": "ann", "expiresAt": "*"}),
        ))
        .refusal(ask(this("$deleted")).code("not_found"))
        .foreign(ask(this("~message")).code("not_found"))
        .bad(ask(this("x")).invalid("messageId"))
        .bad(ask(json!({"messageId": "$message", "advisory": "yes"})).invalid("advisory"));
    let unlock = event("message:unlock", CHAT)
        .success(
            ask(this("$message"))
                .after("ann", "message:lock", this("$message"))
                .holds(json!({"messageId": "$message"}))
                .told(
                    "ben",
                    "message:unlocked",
                    json!({"messageId": "$message", "unlockedBy": "ann", "reason": "unlock"}),
                ),
        )
        .refusal(ask(this("$message")).by("ben").after("ann", "message:lock", this("$message")).code("forbidden"))
        .refusal(ask(this("$message")).code("not_found"))
        .foreign(ask(this("~message")).code("not_found"))
        .foreign(ask(this("~message")).after("ann", "message:lock", this("$message")).code("not_found"))
        .bad(ask(this("")).invalid("messageId"));
    vec![lock, unlock]
}
