//! Polling by script and form, for browsers that can do no other request to a foreign host: a payload is an argument of a call,
//! and comes back in a field of a form.
//!
//! Owns what is around a payload; the payload itself is the business of [`payload`](super::payload).

/// The field of a form that holds the payload.
const FIELD: &str = "d";

/// How long the index of a callback may be. Clients count their callbacks, and JavaScript counts no further.
const INDEX_DIGITS: usize = 16;

/// A session whose polls are answered with a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jsonp {
    /// The callback to call: digits only, since it is written into a script as it is.
    index: Box<str>,
}

impl Jsonp {
    /// Takes the query parameter `j` of the handshake. What is no digit in it is dropped, as other servers do.
    #[must_use]
    pub fn from_query(j: &str) -> Self {
        let digits: String = j.chars().filter(char::is_ascii_digit).take(INDEX_DIGITS).collect();
        Self { index: digits.into() }
    }

    /// The script that hands a text payload to the client.
    ///
    /// A string of JSON is a string of JavaScript but for two characters, which end a line in older engines.
    #[must_use]
    pub fn wrap(&self, payload: &[u8]) -> String {
        let literal = serde_json::Value::from(String::from_utf8_lossy(payload)).to_string();
        let literal = literal.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
        format!("___eio[{}]({literal});", self.index)
    }
}

/// Reads the payload out of a form: percent-encoded, in exactly one field `d`.
#[must_use]
pub fn from_form(form: &[u8]) -> Option<String> {
    let mut fields = form_urlencoded::parse(form).filter(|(name, _)| name == FIELD);
    let (_, field) = fields.next()?;
    fields.next().is_none().then(|| unescape(&field))
}

/// Undoes what clients do to newlines, so that browsers leave them alone: a newline is written as backslash and `n`, and a
/// backslash before an `n` twice.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, behind)) = rest.split_once("\\n") {
        match before.strip_suffix('\\') {
            Some(before) => text.extend([before, "\\n"]),
            None => text.extend([before, "\n"]),
        }
        rest = behind;
    }
    text.push_str(rest);
    text
}
