//! Standard output. A reader that has gone away (`hobnob default-config | head`) is no failure.
//!
//! What clients have named is shown with everything escaped that would move the cursor or change how the text around it is read.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use serde_json::Value;

use crate::app::exit::{ExitCode, ExitError};

/// Between two columns.
const GAP: &str = "  ";
/// For what is not known.
const NOTHING: &str = "-";

/// A heading, and the field that stands below it.
pub(super) type Column = (&'static str, &'static str);

/// Writes `text` as it is.
///
/// # Errors
///
/// When writing fails for another reason than a closed pipe.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(ExitError::from_io(ExitCode::Io, "cannot write to standard output", &error).into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Tells the person at the terminal something that is no part of the answer.
pub(super) fn note(text: &str) {
    // Nobody may be listening any more, and the answer does not depend on it.
    writeln!(io::stderr(), "hobnob: {text}").unwrap_or_default();
}

/// One line of JSON, safe on a terminal: it means the same to whoever reads JSON.
pub(super) fn json(value: &Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        if is_unsafe(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                write!(line, "\\u{unit:04x}").unwrap_or_default();
            }
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

/// The rows (an array of objects) below the headings of their columns.
pub(super) fn table(rows: &Value, columns: &[Column]) -> String {
    let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let rows = rows.as_array().into_iter().flatten();
    let cells = rows.map(|row| columns.iter().map(|(_, field)| cell(at(row, field))).collect());
    align(&std::iter::once(headings).chain(cells).collect::<Vec<Vec<String>>>())
}

/// The fields of an object, one a line.
pub(super) fn fields(object: &Value, columns: &[Column]) -> String {
    let lines = columns.iter().map(|(heading, field)| vec![(*heading).to_owned(), cell(at(object, field))]);
    align(&lines.collect::<Vec<_>>())
}

/// A field of an answer; null when there is none.
pub(super) fn field<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer.get(name).unwrap_or(&Value::Null)
}

/// How many rows an answer has.
pub(super) fn count(answer: &Value, name: &str) -> u64 {
    let rows = field(answer, name).as_array().map_or(0, Vec::len);
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// `1 user`, `2 users`.
pub(super) fn plural(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Tells where a list goes on that was cut.
pub(super) fn tell_rest(answer: &Value) {
    if let Some(next) = field(answer, "next").as_str() {
        note(&format!("there may be more: --after {}", escape(next)));
    }
}

/// Tells how many rows there are, when not all are shown.
pub(super) fn tell_total(answer: &Value, rows: &str, total: &str) {
    let shown = count(answer, rows);
    if let Some(total) = field(answer, total).as_u64().filter(|total| *total > shown) {
        note(&format!("{shown} of {total} are shown; see --limit"));
    }
}

/// The field that `path` leads to, names with dots in between.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |object, name| object.get(name))
}

fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widest =
        |column: usize| rows.iter().filter_map(|row: &Vec<String>| row.get(column)).map(|cell| width(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, wide) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(wide.saturating_sub(width(cell))));
            line.push_str(GAP);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => NOTHING.to_owned(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::String(text)) => escape(text),
        Some(Value::Array(parts)) => parts.iter().map(|part| cell(Some(part))).collect::<Vec<_>>().join(","),
        Some(other) => escape(&other.to_string()),
    }
}

/// The text with everything escaped that a terminal would obey, or that would disguise what it says.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Control characters, line separators, and what changes the direction of text or cannot be seen.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Columns that a terminal uses for the text: two for a wide character, none for one that goes on top of another.
fn width(text: &str) -> usize {
    let wide = |c| match c {
        '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    };
    text.chars().map(wide).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = json!([{"id": "用户", "n": 5, "x": null}, {"id": "bob", "n": 1234, "x": true}]);
        let text = table(&rows, &[("USER", "id"), ("SIZE", "n"), ("X", "x"), ("Y", "absent")]);
        assert_eq!(text, "USER  SIZE  X    Y\n用户  5     -    -\nbob   1234  yes  -\n");
        assert_eq!(table(&json!([]), &[("USER", "id"), ("SIZE", "n")]), "USER  SIZE\n");
        assert_eq!(
            fields(&json!({"a": {"b": 1}, "c": ["x", 2]}), &[("one", "a.b"), ("three", "c")]),
            "one    1\nthree  x,2\n"
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let evil = "a\u{1b}[2Jb\u{9b}1m\r\n\u{202e}c\u{7f}";
        assert_eq!(escape(evil), "a\\u{1b}[2Jb\\u{9b}1m\\r\\n\\u{202e}c\\u{7f}");
        let line = json(&json!({"name": evil, "tag": "\u{e0041}"}));
        assert!(line.trim_end().chars().all(|c| !is_unsafe(c)), "{line:?}");
        let read: Value = serde_json::from_str(&line).expect("still JSON");
        assert_eq!(read, json!({"name": evil, "tag": "\u{e0041}"}));
    }
}
