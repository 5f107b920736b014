//! One Rust file, read as far as the checks need it: without comments and texts, and with the paths it uses.

use std::path::{Path, PathBuf};

/// One Rust file.
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: PathBuf,
    /// As it is.
    pub(crate) text: String,
    /// The same with blanks in place of comments, texts and characters.
    pub(crate) code: String,
    /// The module path within the crate.
    pub(crate) module: Vec<String>,
}

/// A path into the crate that a file uses.
pub(crate) struct Use {
    /// The segments after `crate`.
    pub(crate) path: Vec<String>,
    /// The line of the last segment, from 1.
    pub(crate) line: usize,
}

impl Source {
    /// The file at `path` with this text.
    pub(crate) fn new(path: &Path, text: &str) -> Self {
        let mut module: Vec<String> =
            path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        module.remove(0);
        if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
            module.pop();
        }
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text), module }
    }

    /// Whether all of it is test code.
    pub(crate) fn is_test(&self) -> bool {
        !self.path.starts_with("src")
            || self.path.ends_with("tests.rs")
            || self.module.iter().any(|part| part == "tests")
    }

    /// The code without the parts that only tests have.
    pub(crate) fn product(&self) -> String {
        self.split().0
    }

    /// The parts that only tests have.
    pub(crate) fn inline_tests(&self) -> String {
        self.split().1
    }

    /// Product and tests, each with blanks in place of the other.
    fn split(&self) -> (String, String) {
        let (mut product, mut tests) = (String::new(), String::new());
        let mut rest = self.code.as_str();
        while let Some(start) = rest.find("#[cfg(test)]") {
            let (before, item) = rest.split_at(start);
            let (item, after) = item.split_at(end_of_item(item));
            product += before;
            product += &blanks(item);
            tests += &blanks(before);
            tests += item;
            rest = after;
        }
        product += rest;
        tests += &blanks(rest);
        (product, tests)
    }

    /// The paths into the crate that are used outside tests.
    pub(crate) fn uses(&self) -> Vec<Use> {
        let code = self.product();
        let mut uses = Vec::new();
        for (index, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
            let before = code[..index].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                continue;
            }
            let mut paths = Vec::new();
            expand(&code, index, &mut Vec::new(), &mut paths);
            for (segments, end) in paths {
                uses.push(Use { path: self.absolute(&segments), line: line_of(&code, end) });
            }
        }
        uses.retain(|used| !used.path.is_empty());
        uses.sort_by_key(|used| used.line);
        uses
    }

    /// The segments after `crate` of a path that begins with `crate` or `super`.
    fn absolute(&self, segments: &[String]) -> Vec<String> {
        let ups = segments.iter().take_while(|segment| *segment == "super").count();
        let kept = if segments[0] == "crate" { 0 } else { self.module.len().saturating_sub(ups) };
        self.module[..kept].iter().chain(&segments[ups.max(1)..]).cloned().collect()
    }
}

fn line_of(text: &str, index: usize) -> usize {
    text[..index].matches('\n').count() + 1
}

fn blanks(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { ' ' }).collect()
}

/// Where the item ends that `code` begins with: at its semicolon, or at the brace that closes its first one.
fn end_of_item(code: &str) -> usize {
    let mut depth = 0_usize;
    for (index, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return index + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return index + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Collects the paths of the tree (`a::{b, c::d}`) at `index`, each with the place of its last segment.
fn expand(code: &str, mut index: usize, prefix: &mut Vec<String>, paths: &mut Vec<(Vec<String>, usize)>) -> usize {
    let length = prefix.len();
    loop {
        index += code[index..].len() - code[index..].trim_start().len();
        let rest = &code[index..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if rest.starts_with('{') {
            index += 1;
            loop {
                index = expand(code, index, prefix, paths);
                let rest = code[index..].trim_start();
                index = code.len() - rest.len();
                match rest.chars().next() {
                    Some(',') => index += 1,
                    Some(_) => break index += 1,
                    None => break,
                }
            }
            break;
        }
        prefix.push(rest[..end].to_owned());
        index += end;
        match code[index..].strip_prefix("::") {
            Some(next) if next.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '{')) => index += 2,
            Some(_) | None => {
                if !prefix.last().is_some_and(String::is_empty) {
                    paths.push((prefix.clone(), index));
                }
                index = code[index..].find([',', '}', ';']).map_or(code.len(), |end| index + end);
                break;
            }
        }
    }
    prefix.truncate(length);
    index
}

/// The calls of `name(` in `code`: line, and the function around it.
pub(crate) fn calls(code: &str, name: &str) -> Vec<(usize, String)> {
    let call = format!("{name}(");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let indices = code.match_indices(&call).map(|(index, _)| index);
    let calls = indices.filter(|index| !code[..*index].ends_with(is_word) && !code[..*index].ends_with("fn "));
    let around = |index: usize| {
        code[..index].rsplit_once("fn ").map(|(_, rest)| rest.split(|c| !is_word(c)).next().unwrap_or(""))
    };
    calls.map(|index| (line_of(code, index), around(index).unwrap_or("").to_owned())).collect()
}

/// The text with blanks in place of comments, texts and characters.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let is_word_before = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest, '"'),
            'r' | 'b' | 'c' if !is_word_before => prefixed(rest),
            '\'' if is_character(rest) => quoted(rest, '\''),
            _ => 0,
        };
        if length == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code += &blanks(&rest[..length]);
            rest = &rest[length..];
        }
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    for (index, _) in text.char_indices() {
        if text[index..].starts_with("/*") {
            depth += 1;
        } else if text[index..].starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return index + 2;
            }
        }
    }
    text.len()
}

/// The length of a text that begins with its quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw or byte text, or 0 if it is none.
fn prefixed(text: &str) -> usize {
    let start = text.find(|c| !matches!(c, 'r' | 'b' | 'c')).unwrap_or(text.len());
    let (prefix, body) = text.split_at(start);
    let hashes = body.len() - body.trim_start_matches('#').len();
    match body[hashes..].chars().next() {
        Some('"') if prefix.contains('r') => {
            let end = format!("\"{}", "#".repeat(hashes));
            body[hashes + 1..].find(&end).map_or(text.len(), |index| start + hashes + 1 + index + end.len())
        }
        Some('"') if hashes == 0 => start + quoted(body, '"'),
        Some('\'') if hashes == 0 && prefix == "b" => start + quoted(body, '\''),
        Some(_) | None => 0,
    }
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}
