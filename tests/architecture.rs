//! Keeps the architecture: which layer may use which, who may read the clock, who may name the kernel's crates.
//!
//! The sources are read as tokens, without comments and literals; no compiler is involved.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What each layer may use besides itself. A path of two segments allows that module alone.
const LAYERS: [(&str, &[&str]); 9] = [
    ("base", &[]),
    ("http", &["base"]),
    ("protocol", &["base", "http"]),
    ("observe", &["base", "http"]),
    ("net", &["base", "protocol::dns"]),
    ("service", &["base", "http", "protocol::ws", "observe"]),
    ("connection", &["base", "http", "protocol", "observe", "net", "service"]),
    ("event_loop", &["base", "http", "protocol", "observe", "net", "service", "connection"]),
    ("process", &["base", "http", "protocol", "observe", "net", "service", "connection", "event_loop"]),
];

/// Crates that only some layers, or some modules of them, may name.
const FENCED_CRATES: [(&str, &[&str]); 9] = [
    ("listenfd", &["net"]),
    ("mio", &["net"]),
    ("rcgen", &["net::tls"]),
    ("rustls", &["net::tls"]),
    ("rustls_native_certs", &["net::tls"]),
    ("socket2", &["net"]),
    ("signal_hook", &["net", "process"]),
    ("signal_hook_mio", &["net", "process"]),
    ("x509_cert", &["net::tls"]),
];

/// Who may read the clock.
const CLOCK_READERS: [&str; 2] = ["net", "process"];

#[test]
fn the_sources_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = rust_files(&root.join("src"));
    assert!(files.iter().any(|file| file.ends_with("base/ring.rs")), "the sources were not found");
    let sources: Vec<(String, String)> = files.iter().map(|file| named_source(root, file)).collect();
    let broken = broken(&sources);
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// A source with its name, relative to the project.
fn named_source(root: &Path, file: &Path) -> (String, String) {
    let source = fs::read_to_string(file).expect("a source can be read");
    let name = file.strip_prefix(root).expect("a source lies in the project").to_str().expect("its name is UTF-8");
    (name.to_string(), source)
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// A rule that was broken.
struct Violation {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// What `sources`, each with its name, break of the rules, to be printed.
fn broken(sources: &[(String, String)]) -> Vec<String> {
    let test_modules: Vec<_> = sources.iter().flat_map(|(name, source)| declared_test_modules(name, source)).collect();
    let violations = sources.iter().flat_map(|(name, source)| check(name, source, &test_modules));
    violations.map(|violation| violation.to_string()).collect()
}

/// All rules, on one source.
fn check(name: &str, source: &str, test_modules: &[Vec<String>]) -> Vec<Violation> {
    let tokens = tokens(source);
    let modules = modules_of(name);
    let is_test_file = test_modules.iter().any(|test_module| modules.starts_with(test_module));
    let in_test = if is_test_file { vec![true; tokens.len()] } else { test_code(&tokens) };
    let layer = modules.first().map(String::as_str);
    let mut broken = Vec::new();
    if let Some(layer) = layer {
        broken.extend(layer_violations(layer, modules.len(), &tokens));
    }
    for (index, is_test) in in_test.into_iter().enumerate() {
        broken.extend(fenced_crate(&modules, &tokens, index));
        if !is_test {
            broken.extend(clock_read(layer, &tokens, index));
            broken.extend(discarded_result(&tokens, index));
        }
    }
    broken.sort();
    broken.into_iter().map(|(line, rule)| Violation { file: name.to_string(), line, rule }).collect()
}

/// The line and the rule.
type Broken = (usize, String);

/// The module path of a file: `src/base/ring.rs` is `[base, ring]`; `main.rs` and `lib.rs` are the root, which is no
/// layer.
fn modules_of(name: &str) -> Vec<String> {
    let path = name.strip_prefix("src/").unwrap_or(name).trim_end_matches(".rs");
    let modules = path.split('/').filter(|module| !["mod", "lib", "main"].contains(module));
    modules.map(str::to_string).collect()
}

// Layers

fn layer_violations(layer: &str, depth: usize, tokens: &[Token<'_>]) -> Vec<Broken> {
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![(1, format!("`{layer}` is not a layer of the architecture"))];
    };
    let uses = uses_of_layers(depth, tokens);
    let forbidden = uses.into_iter().filter(|(_, path)| !may_use(layer, allowed, path));
    forbidden.map(|(line, path)| (line, format!("`{layer}` may not use `{path}`; it may use {allowed:?}"))).collect()
}

/// Whether `path`, of one or two segments, is the layer itself or lies in what it is allowed.
fn may_use(layer: &str, allowed: &[&str], path: &str) -> bool {
    let first = path.split("::").next().unwrap_or(path);
    first == layer || allowed.contains(&first) || allowed.contains(&path)
}

/// Every path from the crate's root, in use lines and anywhere else, cut to two segments, with its line.
fn uses_of_layers(depth: usize, tokens: &[Token<'_>]) -> Vec<(usize, String)> {
    let mut uses = Vec::new();
    let mut inline_modules = InlineModules::default();
    for index in 0..tokens.len() {
        inline_modules.step(tokens, index);
        if let Some(start) = path_from_root(tokens, index, depth + inline_modules.depth()) {
            expand(tokens, start, "", &mut uses);
        }
    }
    uses
}

/// If a path that begins at `index` leads to the crate's root (`crate::`, or `super::` often enough): where it goes on.
fn path_from_root(tokens: &[Token<'_>], index: usize, depth: usize) -> Option<usize> {
    // `crate` alone, as in `pub(crate)`, uses nothing.
    if texts_at(tokens, index, &["crate", "::"]) {
        return Some(index + 2);
    }
    let is_first = index == 0 || tokens[index - 1].text != "::";
    let supers = (0..).take_while(|n| texts_at(tokens, index + 2 * n, &["super", "::"])).count();
    (is_first && supers == depth && depth > 0).then_some(index + 2 * supers)
}

/// Adds the paths that go on at `start`, which may be groups, to `uses`. Returns the position after them.
fn expand(tokens: &[Token<'_>], start: usize, parent: &str, uses: &mut Vec<(usize, String)>) -> usize {
    let Some(token) = tokens.get(start) else { return start };
    if token.text == "{" {
        return expand_group(tokens, start + 1, parent, uses);
    }
    let path = if parent.is_empty() { token.text.to_string() } else { format!("{parent}::{}", token.text) };
    let is_cut = !parent.is_empty();
    if !is_cut && texts_at(tokens, start + 1, &["::"]) {
        return expand(tokens, start + 2, &path, uses);
    }
    uses.push((token.line, path));
    start + 1
}

fn expand_group(tokens: &[Token<'_>], start: usize, parent: &str, uses: &mut Vec<(usize, String)>) -> usize {
    let mut index = start;
    while index < tokens.len() && tokens[index].text != "}" {
        index = expand(tokens, index, parent, uses);
        index = end_of_member(tokens, index);
    }
    index + 1
}

/// The beginning of a group's next member, or the group's end.
fn end_of_member(tokens: &[Token<'_>], start: usize) -> usize {
    let mut open = 0;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "}" if open == 0 => return index,
            "," if open == 0 => return index + 1,
            "{" => open += 1,
            "}" => open -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// How many `mod name { }` blocks a token stands in: each costs one more `super`.
#[derive(Default)]
struct InlineModules {
    /// For each open brace, whether it is a module's.
    braces: Vec<bool>,
}

impl InlineModules {
    fn step(&mut self, tokens: &[Token<'_>], index: usize) {
        match tokens[index].text {
            "{" => self.braces.push(index >= 2 && tokens[index - 2].text == "mod"),
            "}" => {
                self.braces.pop();
            }
            _ => {}
        }
    }

    fn depth(&self) -> usize {
        self.braces.iter().filter(|is_module| **is_module).count()
    }
}

// Other rules: each looks at the tokens from `index` on.

fn fenced_crate(modules: &[String], tokens: &[Token<'_>], index: usize) -> Option<Broken> {
    let Token { text, line } = tokens[index];
    let (_, owners) = FENCED_CRATES.iter().find(|(name, _)| *name == text)?;
    let is_beneath = |owner: &&str| {
        let mut owner = owner.split("::").enumerate();
        owner.all(|(depth, name)| modules.get(depth).is_some_and(|module| module == name))
    };
    (!owners.iter().any(is_beneath)).then(|| (line, format!("only {owners:?} may name `{text}`")))
}

fn clock_read(layer: Option<&str>, tokens: &[Token<'_>], index: usize) -> Option<Broken> {
    let is_now = ["Instant", "SystemTime"].iter().any(|clock| texts_at(tokens, index, &[clock, "::", "now"]));
    // `elapsed()` of either reads the clock as well.
    let reads = is_now || texts_at(tokens, index, &[".", "elapsed", "(", ")"]);
    let is_reader = layer.is_some_and(|layer| CLOCK_READERS.contains(&layer));
    (reads && !is_reader).then(|| (tokens[index].line, format!("only {CLOCK_READERS:?} may read the clock")))
}

fn discarded_result(tokens: &[Token<'_>], index: usize) -> Option<Broken> {
    let is_assignment = texts_at(tokens, index, &["_", "="]) && !texts_at(tokens, index + 2, &[">"]);
    let is_typed = texts_at(tokens, index, &["_", ":"]) && index > 0 && tokens[index - 1].text == "let";
    let rule = "a result may not be discarded with `let _ =`";
    (is_assignment || is_typed).then(|| (tokens[index].line, rule.to_string()))
}

// Test code

/// The modules with files of their own that a source declares for tests only: `#[cfg(test)] mod name;`.
fn declared_test_modules(name: &str, source: &str) -> Vec<Vec<String>> {
    let tokens = tokens(source);
    let in_test = test_code(&tokens);
    let words = tokens.windows(3).zip(in_test);
    let declared = words.filter(|(words, in_test)| *in_test && words[0].text == "mod" && words[2].text == ";");
    declared.map(|(words, _)| [modules_of(name), vec![words[1].text.to_string()]].concat()).collect()
}

/// For each token, whether it belongs to an item under `#[cfg(test)]`.
fn test_code(tokens: &[Token<'_>]) -> Vec<bool> {
    let mut in_test = vec![false; tokens.len()];
    for start in 0..tokens.len() {
        if texts_at(tokens, start, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            in_test[start..end_of_item(tokens, start + 7)].fill(true);
        }
    }
    in_test
}

/// The end of the item that begins at `start`: its `;`, or the brace that closes its first block.
fn end_of_item(tokens: &[Token<'_>], start: usize) -> usize {
    let mut open = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "(" | "[" | "{" => open += 1,
            ")" | "]" => open = open.saturating_sub(1),
            "}" if open <= 1 => return index + 1,
            "}" => open -= 1,
            ";" if open == 0 => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

// Tokens

/// A word, `::`, or any other single character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

fn texts_at(tokens: &[Token<'_>], index: usize, texts: &[&str]) -> bool {
    let found = tokens.get(index..index + texts.len());
    found.is_some_and(|found| found.iter().zip(texts).all(|(token, text)| token.text == *text))
}

/// The tokens of a source, without white space, comments and literals of text.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_length(rest);
        let length = if skipped > 0 { skipped } else { token_length(rest, first) };
        if skipped == 0 && !first.is_whitespace() {
            tokens.push(Token { text: rest[..length].trim_start_matches("r#"), line });
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn token_length(rest: &str, first: char) -> usize {
    if rest.starts_with("::") {
        return 2;
    }
    let prefix = if rest.starts_with("r#") { 2 } else { 0 };
    let word = rest[prefix..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len() - prefix);
    if word == 0 { first.len_utf8() } else { prefix + word }
}

/// The length of the comment or literal of text that `rest` begins with, or 0.
fn skipped_length(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| is_literal_prefix(rest, prefix));
    let Some(prefix) = prefix else { return 0 };
    let literal = &rest[prefix.len()..];
    let length = if prefix.ends_with('r') { raw_string_length(literal) } else { quoted_length(literal) };
    if length == 0 { 0 } else { prefix.len() + length }
}

fn is_literal_prefix(rest: &str, prefix: &str) -> bool {
    let Some(literal) = rest.strip_prefix(prefix) else { return false };
    if prefix.ends_with('r') {
        return literal.trim_start_matches('#').starts_with('"');
    }
    literal.starts_with('"') || literal.starts_with('\'')
}

fn block_comment_length(rest: &str) -> usize {
    let (mut open, mut at) = (0, 0);
    while at < rest.len() {
        let (step, change) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        open += change;
        if open == 0 {
            return at;
        }
    }
    rest.len()
}

fn raw_string_length(literal: &str) -> usize {
    let hashes = literal.len() - literal.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let content = &literal[hashes + 1..];
    content.find(&end).map_or(literal.len(), |at| hashes + 1 + at + end.len())
}

/// The length of a string or character literal; 0 for the quote of a lifetime.
fn quoted_length(literal: &str) -> usize {
    let mut characters = literal.char_indices();
    let Some((_, quote)) = characters.next() else { return 0 };
    if quote == '\'' && is_lifetime(literal) {
        return 0;
    }
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return at + 1;
        }
        if character == '\\' {
            characters.next();
        }
    }
    literal.len()
}

fn is_lifetime(literal: &str) -> bool {
    let mut characters = literal.chars().skip(1);
    let (first, second) = (characters.next(), characters.next());
    first != Some('\\') && second != Some('\'')
}

// Whether the checker would notice.

fn broken_by(name: &str, source: &str) -> Vec<String> {
    broken(&[(name.to_string(), source.to_string())])
}

#[track_caller]
fn assert_broken(name: &str, source: &str, line: usize, rule: &str) {
    let found = broken_by(name, source);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("{name}:{line}: ")), "{found:?}");
    assert!(found[0].contains(rule), "{found:?}");
}

#[track_caller]
fn assert_kept(name: &str, source: &str) {
    assert_eq!(broken_by(name, source), [""; 0]);
}

#[test]
fn a_use_of_a_lower_layer_is_noticed() {
    assert_broken("src/http/date.rs", "\nuse crate::net::Reactor;", 2, "`http` may not use `net::Reactor`");
    assert_broken("src/base/ring.rs", "fn f() {\n crate::http::status::x()\n}", 2, "`base` may not use `http::status`");
    assert_broken("src/net/mod.rs", "use crate::{base::ring,\n http::date};", 2, "`net` may not use `http::date`");
    assert_broken("src/base/mod.rs", "pub(in crate::net) fn f() {}", 1, "`base` may not use `net`");
    assert_broken("src/http/mod.rs", "use crate::*;", 1, "`http` may not use `*`");
    assert_broken("src/extra.rs", "", 1, "`extra` is not a layer");
}

#[test]
fn a_way_round_by_super_is_noticed() {
    let rule = "`base` may not use `http::date`";
    assert_broken("src/base/ring.rs", "use super::super::http::date;", 1, rule);
    assert_broken("src/base/mod.rs", "use super::http::date;", 1, rule);
    assert_broken("src/base/ring.rs", "mod tests { use super::super::super::http::date; }", 1, rule);
    assert_kept("src/base/ring.rs", "use super::slots; mod tests { use super::super::slots; use super::*; }");
}

#[test]
fn what_the_table_allows_is_allowed() {
    assert_kept("src/http/date.rs", "use crate::{base::{ring, slots}, http::status}; pub(crate) fn f() {}");
    assert_kept("src/service/websocket.rs", "use crate::protocol::ws::Frame; use crate::protocol::{ws};");
    assert_kept("src/process/mod.rs", "use crate::event_loop::EventLoop; use crate::net;");
    assert_kept("src/main.rs", "use crate::anything::at_all;");
}

#[test]
fn a_service_gets_websockets_and_nothing_else_of_the_protocols() {
    let rule = "`service` may not use `protocol";
    assert_broken("src/service/mod.rs", "use crate::protocol::{ws::Frame,\n h1::server};", 2, rule);
    assert_broken("src/service/mod.rs", "use crate::protocol;", 1, rule);
    assert_broken("src/service/mod.rs", "use crate::protocol::*;", 1, rule);
}

#[test]
fn reading_the_clock_in_the_wrong_place_is_noticed() {
    let rule = "may read the clock";
    assert_broken("src/connection/mod.rs", "fn f() {\n let now = std::time::Instant::now();\n}", 2, rule);
    assert_broken("src/http/date.rs", "let wall = SystemTime :: now;", 1, rule);
    assert_broken("src/http/date.rs", "let spent = began.elapsed();", 1, rule);
    assert_broken("src/main.rs", "fn main() { Instant::now(); }", 1, rule);
    assert_kept("src/net/mio_reactor.rs", "let now = Instant::now();");
    assert_kept("src/base/ring.rs", "#[cfg(test)]\nmod tests { fn f() { Instant::now(); let _ = g(); } }");
    assert_broken("src/base/ring.rs", "#[cfg(test)] mod tests { fn f() {} }\nfn g() { Instant::now(); }", 2, rule);
}

#[test]
fn a_file_declared_for_tests_only_may_read_the_clock() {
    let harness = ("src/service/lab/harness.rs".to_string(), "fn f() { Instant::now(); }".to_string());
    let declaring = |text: &str| ("src/service/lab/mod.rs".to_string(), text.to_string());
    let for_tests = declaring("mod echo; #[cfg(test)] pub(crate) mod harness;");
    assert_eq!(broken(&[for_tests, harness.clone()]), [""; 0]);
    assert_eq!(broken(&[declaring("#[cfg(test)] mod other; mod harness;"), harness]).len(), 1);
}

#[test]
fn naming_the_kernels_crates_in_the_wrong_place_is_noticed() {
    assert_broken("src/event_loop/mod.rs", "use mio::Poll;", 1, "may name `mio`");
    assert_broken("src/process/mod.rs", "\n\nsocket2::Socket::new();", 3, "may name `socket2`");
    assert_broken("src/connection/mod.rs", "use signal_hook::consts;", 1, "may name `signal_hook`");
    assert_kept("src/process/signals.rs", "use signal_hook::consts;");
    for name in ["src/net/stream.rs", "src/net/mod.rs", "src/tls/mod.rs", "src/net/tls_settings.rs", "src/main.rs"] {
        let found = broken_by(name, "\nfn f(config: rustls::ServerConfig) {}");
        assert!(found.iter().any(|line| line.starts_with(name) && line.contains(":2: ")), "{name}: {found:?}");
    }
    for name in ["src/net/tls/mod.rs", "src/net/tls.rs", "src/net/tls/session/tests.rs"] {
        assert_kept(name, "use rustls::ServerConfig; use x509_cert::der;");
    }
    assert_kept("src/process/mod.rs", "use crate::net::mio_reactor::MioReactor;");
}

#[test]
fn a_discarded_result_is_noticed() {
    let rule = "may not be discarded";
    assert_broken("src/connection/mod.rs", "fn f() {\n let _ = socket.write();\n}", 2, rule);
    assert_broken("src/connection/mod.rs", "let _: io::Result<()> = flush();", 1, rule);
    assert_broken("src/connection/mod.rs", "fn f() { _ = flush(); }", 1, rule);
    let fine = "match x { _ => y } let _guard = z; fn f(_: u32) {} const _: () = ();";
    assert_kept("src/connection/mod.rs", fine);
}

#[test]
fn comments_and_literals_break_nothing() {
    let source = r##"
        // Instant::now() and crate::net
        /* let _ = /* nested */ mio::Poll */
        /// [`crate::net::Reactor`]
        const TEXT: &str = "let _ = \" Instant::now()";
        const RAW: &[u8] = br#"use mio" crate::net::x"#;
        fn f<'a>(quote: &'a str) -> char { if quote == "\\" { '"' } else { '\'' } }
    "##;
    assert_kept("src/base/ring.rs", source);
    assert_broken("src/base/ring.rs", &format!("{source}\nmio::Poll"), 9, "may name `mio`");
}
