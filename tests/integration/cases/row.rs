//! What a row of the tables says: an event or a route, and what is asked of it in each of the four cases.
//!
//! Texts in a payload may name objects: `$group` is made for the case before it is asked (`scene.rs` has the list), and `~group` is
//! the one that the case is about: the whole case is asked once more with an id that does not exist in its place.

use serde_json::Value;

/// The namespaces of chat events.
pub const CHAT: &[&str] = &["/", "/messages"];
/// The namespaces of notifications.
pub const NOTIFICATIONS: &[&str] = &["/", "/notifications"];
/// All namespaces.
pub const EVERYWHERE: &[&str] = &["/", "/messages", "/notifications"];
/// A route has none; what others hear of it they hear in `/`.
const OVER_HTTP: &[&str] = &["/"];

/// Who may do without which credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Anyone,
    /// Users with a token.
    User,
    /// The backend with its key.
    Backend,
}

/// What must come of a request.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Success, and an answer with at least this: `"*"` stands for anything but null.
    Holds(Value),
    /// A refusal with this code.
    Code(&'static str),
    /// A refusal with this code that names this field.
    Field(&'static str, &'static str),
}

/// Something that has to be in place before.
#[derive(Clone, Debug)]
pub struct Step {
    pub by: &'static str,
    /// An event, or `METHOD /path` where `by` may be `backend`.
    pub name: &'static str,
    pub payload: Value,
}

/// What somebody hears of a success.
#[derive(Clone, Debug)]
pub struct Told {
    pub who: &'static str,
    pub event: &'static str,
    pub payload: Value,
}

/// One request, and what must come of it.
#[derive(Clone, Debug)]
pub struct Case {
    pub by: Option<&'static str>,
    /// What stands for `{id}` in the path.
    pub at: &'static str,
    pub query: &'static str,
    pub payload: Value,
    pub status: Option<u16>,
    pub before: Vec<Step>,
    pub expected: Expected,
    pub told: Vec<Told>,
}

/// A request with this payload; it has to succeed unless said otherwise.
pub fn ask(payload: Value) -> Case {
    let expected = Expected::Holds(Value::Object(serde_json::Map::new()));
    Case { by: None, at: "", query: "", payload, status: None, before: Vec::new(), expected, told: Vec::new() }
}

/// A request without a payload, for this object.
pub fn at(id: &'static str) -> Case {
    ask(Value::Null).at(id)
}

impl Case {
    /// Who asks; if not said ann, and eve for what is not hers.
    pub fn by(self, user: &'static str) -> Self {
        Self { by: Some(user), ..self }
    }

    /// What stands for `{id}` in the path.
    pub fn at(self, id: &'static str) -> Self {
        Self { at: id, ..self }
    }

    /// The query, with its question mark.
    pub fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    /// The status of success, where it is another one than the document names.
    pub fn status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// What must have succeeded before.
    pub fn after(mut self, by: &'static str, name: &'static str, payload: Value) -> Self {
        self.before.push(Step { by, name, payload });
        self
    }

    /// What the answer has to hold.
    pub fn holds(self, answer: Value) -> Self {
        Self { expected: Expected::Holds(answer), ..self }
    }

    /// The code it is refused with.
    pub fn code(self, code: &'static str) -> Self {
        Self { expected: Expected::Code(code), ..self }
    }

    /// It is an invalid payload because of this field.
    pub fn invalid(self, field: &'static str) -> Self {
        Self { expected: Expected::Field("invalid_payload", field), ..self }
    }

    /// This field is too long.
    pub fn too_long(self, field: &'static str) -> Self {
        Self { expected: Expected::Field("too_long", field), ..self }
    }

    /// What somebody hears of it.
    pub fn told(mut self, who: &'static str, event: &'static str, payload: Value) -> Self {
        self.told.push(Told { who, event, payload });
        self
    }
}

/// One of the cases beside success.
#[derive(Clone, Debug, Default)]
pub enum Cases {
    /// Nothing was said about it, which is a mistake.
    #[default]
    Missing,
    /// What is asked.
    Tried(Vec<Case>),
    /// Why there can be no such case.
    NotApplicable(&'static str),
}

impl Cases {
    fn push(&mut self, case: Case) {
        match self {
            Self::Tried(cases) => cases.push(case),
            Self::Missing => *self = Self::Tried(vec![case]),
            Self::NotApplicable(reason) => panic!("a case, though {reason}"),
        }
    }

    /// What is asked.
    pub fn tried(&self) -> &[Case] {
        match self {
            Self::Tried(cases) => cases,
            Self::Missing | Self::NotApplicable(_) => &[],
        }
    }

    /// Whether something is said.
    pub fn is_answered(&self) -> bool {
        match self {
            Self::Missing => false,
            Self::Tried(cases) => !cases.is_empty(),
            Self::NotApplicable(reason) => !reason.is_empty(),
        }
    }
}

/// An event or a route with its four cases.
#[derive(Clone, Debug)]
pub struct Row {
    /// The event, or `METHOD /path`.
    pub name: &'static str,
    pub namespaces: &'static [&'static str],
    pub access: Access,
    pub success: Cases,
    /// Beside the credentials and the rate, which are tried for all rows.
    pub refusal: Cases,
    pub foreign: Cases,
    /// Beside the wrong types, which are made for all rows from what the documents say.
    pub bad: Cases,
    /// Whether any payload will do.
    pub takes_anything: bool,
    /// Fields that may be as long as a request may be.
    pub unlimited: &'static [&'static str],
    /// The code of a text that is too long, where another one fits better.
    pub long_code: Option<&'static str>,
    /// The event that carries the answer where no ack is asked for.
    pub answer: Option<&'static str>,
}

/// The row of an event.
pub fn event(name: &'static str, namespaces: &'static [&'static str]) -> Row {
    Row {
        name,
        namespaces,
        access: Access::User,
        success: Cases::Missing,
        refusal: Cases::Missing,
        foreign: Cases::Missing,
        bad: Cases::Missing,
        takes_anything: false,
        unlimited: &[],
        long_code: None,
        answer: None,
    }
}

/// The row of a route.
pub fn route(name: &'static str, access: Access) -> Row {
    Row { access, ..event(name, OVER_HTTP) }
}

impl Row {
    /// Method and path of a route.
    pub fn route(&self) -> Option<(&'static str, &'static str)> {
        self.name.split_once(' ')
    }

    pub fn success(mut self, case: Case) -> Self {
        self.success.push(case);
        self
    }

    pub fn refusal(mut self, case: Case) -> Self {
        self.refusal.push(case);
        self
    }

    /// Nothing is refused but for the credentials and the rate.
    pub fn no_refusal(self, reason: &'static str) -> Self {
        Self { refusal: Cases::NotApplicable(reason), ..self }
    }

    pub fn foreign(mut self, case: Case) -> Self {
        self.foreign.push(case);
        self
    }

    pub fn no_foreign(self, reason: &'static str) -> Self {
        Self { foreign: Cases::NotApplicable(reason), ..self }
    }

    pub fn bad(mut self, case: Case) -> Self {
        self.bad.push(case);
        self
    }

    pub fn no_bad(self, reason: &'static str) -> Self {
        Self { bad: Cases::NotApplicable(reason), ..self }
    }

    pub fn takes_anything(self) -> Self {
        Self { takes_anything: true, ..self }
    }

    pub fn unlimited(self, fields: &'static [&'static str]) -> Self {
        Self { unlimited: fields, ..self }
    }

    pub fn answered_by(self, event: &'static str) -> Self {
        Self { answer: Some(event), ..self }
    }

    pub fn long_code(self, code: &'static str) -> Self {
        Self { long_code: Some(code), ..self }
    }
}
