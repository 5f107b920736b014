//! The `.env` file, read as the npm package `dotenv` reads it.
//!
//! The rules are those of its regular expression: an `export` before the name, `NAME=value` or `NAME: value`, single, double
//! and back quotes that may span lines, `\n` and `\r` within double quotes only, a comment from an unquoted `#` on, no `$`
//! expansion, and lines that are none of this are skipped. What an app's own `.env` says means the same here.

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    /// The line of its name, from 1.
    pub(super) line: usize,
}

/// The variables of `text`, in order; of several with the same name the last one counts.
pub(super) fn parse(text: &str) -> Vec<Variable> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut variables = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let start = text.len() - rest.len();
        let after = match assignment(rest) {
            Some(Assignment { at, name, value, after }) => {
                let line = text.get(..start + at).unwrap_or_default().split('\n').count();
                variables.push(Variable { name: name.to_owned(), value, line });
                after
            }
            None => rest,
        };
        rest = after.split_once('\n').map_or("", |(_, next)| next);
    }
    variables
}

struct Assignment<'a> {
    /// Where the name begins, in bytes.
    at: usize,
    name: &'a str,
    value: String,
    /// The text after the value.
    after: &'a str,
}

/// The assignment that `text` begins with.
fn assignment(text: &str) -> Option<Assignment<'_>> {
    let line = trim_start(text);
    let unexported = line.strip_prefix("export").filter(|rest| rest.starts_with(is_space)).map(trim_start);
    let (line, end) =
        [unexported, Some(line)].into_iter().flatten().find_map(|line| Some((line, end_of_name(line)?)))?;
    let (name, rest) = line.split_at(end);
    let rest = match rest.strip_prefix(':') {
        Some(rest) => rest.strip_prefix(is_space)?,
        None => trim_start(rest).strip_prefix('=')?,
    };
    let (value, after) = quoted(rest).unwrap_or_else(|| bare(rest));
    Some(Assignment { at: text.len() - line.len(), name, value, after })
}

/// Where the name ends that `line` begins with, if an assignment follows it.
fn end_of_name(line: &str) -> Option<usize> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let end = line.find(|c| !is_name(c)).filter(|end| *end > 0)?;
    let rest = line.get(end..)?;
    let follows =
        rest.strip_prefix(':').is_some_and(|rest| rest.starts_with(is_space)) || trim_start(rest).starts_with('=');
    follows.then_some(end)
}

/// A value in quotes that is followed by nothing but a comment.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let rest = trim_start(rest);
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'))?;
    let inner = rest.strip_prefix(quote)?;
    // The first quote without a backslash ends the value. If that does not fit, one with a backslash may, the last one first.
    let is_escaped = |at: usize| inner.as_bytes().get(..at).is_some_and(|before| before.ends_with(b"\\"));
    let closing: Vec<usize> = inner.match_indices(quote).map(|(at, _)| at).collect();
    let first_bare = closing.iter().position(|at| !is_escaped(*at)).map_or(closing.len(), |index| index + 1);
    closing.into_iter().take(first_bare).rev().find_map(|at| {
        let (value, after) = (inner.get(..at)?, inner.get(at + 1..)?);
        let next = after.trim_start_matches(|c| is_space(c) && c != '\n');
        (next.is_empty() || next.starts_with(['\n', '#'])).then(|| (unescape(value, quote), after))
    })
}

fn unescape(value: &str, quote: char) -> String {
    if quote == '"' { value.replace("\\n", "\n").replace("\\r", "\r") } else { value.to_owned() }
}

/// A value without quotes: up to the end of the line or a `#`.
fn bare(rest: &str) -> (String, &str) {
    let end = rest.find(['#', '\n']).unwrap_or(rest.len());
    let (value, after) = rest.split_at(end);
    let value = value.trim_matches(is_space);
    // A text such as `"a" b "c"` begins and ends with a quote, too, and loses both.
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'));
    let stripped = quote.and_then(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value);
    (unescape(stripped, quote.unwrap_or(' ')), after)
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// White space as JavaScript's regular expressions see it.
fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `dotenv.expected.json` was printed by npm dotenv 18 from `dotenv.env`.
    #[test]
    fn a_file_means_what_it_means_to_npm_dotenv() {
        let expected: std::collections::BTreeMap<String, String> =
            serde_json::from_str(include_str!("dotenv.expected.json")).expect("JSON");
        let read =
            parse(include_str!("dotenv.env")).into_iter().map(|variable| (variable.name, variable.value)).collect();
        assert_eq!(expected, read);
    }

    #[test]
    fn a_variable_knows_its_line() {
        let variables = parse("# comment\r\nA=1\r\n\r\nexport B='two\nlines'\nC: 3");
        let lines: Vec<_> = variables.iter().map(|variable| (variable.name.as_str(), variable.line)).collect();
        assert_eq!(lines, [("A", 2), ("B", 4), ("C", 6)]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_read(text in "[ -~\n\r'\"`#=:\\\\é]{0,200}") {
            parse(&text);
        }
    }
}
