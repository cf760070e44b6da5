//! What is in the documents: headings, fenced blocks, links; and the command lines in the blocks.

use std::path::{Path, PathBuf};

/// A fenced block.
#[derive(Debug, Clone)]
pub struct Block {
    /// The document, by its path from the root of the repository.
    pub document: String,
    /// The heading above it.
    pub heading: String,
    /// Which of the blocks of its language under that heading, from 0.
    pub nth: usize,
    /// What stands behind the fence: `sh`, `yaml`.
    pub language: String,
    /// The line of its first line, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

impl Block {
    /// `document:line`, for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// README and everything in docs.
pub fn names() -> Vec<String> {
    let listing = std::fs::read_dir(root().join("docs")).unwrap();
    let files = listing.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files.filter(|name| name.ends_with(".md")).collect();
    names.sort();
    let docs = names.into_iter().map(|name| format!("docs/{name}"));
    std::iter::once("README.md".to_owned()).chain(docs).collect()
}

/// The text of a document.
pub fn text(document: &str) -> String {
    std::fs::read_to_string(root().join(document)).unwrap()
}

/// The blocks of a language in all documents.
pub fn blocks(language: &str) -> Vec<Block> {
    let all = names().into_iter().flat_map(|name| parse(&name, &text(&name)));
    all.filter(|block| block.language == language).collect()
}

/// The fenced blocks of a text.
pub fn parse(document: &str, text: &str) -> Vec<Block> {
    let (mut blocks, mut heading, mut open) = (Vec::<Block>::new(), String::new(), None::<Block>);
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (Some(language), None) => {
                let is_before = |one: &&Block| one.heading == heading && one.language == language;
                open = Some(Block {
                    document: document.to_owned(),
                    nth: blocks.iter().filter(is_before).count(),
                    heading: heading.clone(),
                    language: language.to_owned(),
                    line: number + 2,
                    text: String::new(),
                });
            }
            (None, None) => heading = headline(line).unwrap_or(&heading).to_owned(),
        }
    }
    assert!(open.is_none(), "{document}: a block is not closed");
    blocks
}

/// The languages of blocks.
const LANGUAGES: [&str; 6] = ["", "sh", "yaml", "json", "toml", "text"];

/// Lines that begin or end a block in a way that [`parse`] does not know, or in a language that nobody looks for, and commands that are set in by spaces.
pub fn unseen(document: &str, text: &str) -> Vec<String> {
    let (mut unseen, mut is_code) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        let inner = line.trim_start();
        let is_fence = inner.starts_with("```") || inner.starts_with("~~~");
        let is_known = match line.strip_prefix("```") {
            Some(language) => language.is_empty() || !is_code && LANGUAGES.contains(&language),
            None => !is_fence,
        };
        let is_set_in = line.starts_with("    ") || line.starts_with('\t');
        let is_command = ["gunyu ", "redis-cli ", "$ "]
            .iter()
            .any(|one| inner.starts_with(one));
        if !is_known || !is_code && is_set_in && is_command {
            unseen.push(format!("{document}:{}: {line}", number + 1));
        }
        is_code ^= is_fence;
    }
    unseen
}

fn headline(line: &str) -> Option<&str> {
    line.starts_with('#').then(|| line.trim_start_matches('#').trim())
}

/// The headings of a document, as GitHub names them in links.
pub fn anchors(text: &str) -> Vec<String> {
    let (mut anchors, mut is_code) = (Vec::new(), false);
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if let (false, Some(heading)) = (is_code, headline(line)) {
            let kept = heading.to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            anchors.push(kept.collect::<String>().replace(' ', "-"));
        }
    }
    anchors
}

/// The targets of the links to other places of the repository.
pub fn links(text: &str) -> Vec<String> {
    let begins = text.split("](").skip(1);
    let ends = begins.filter_map(|rest| rest.split_once(')').map(|(link, _)| link.to_owned()));
    ends.filter(|link| !link.contains("://") && !link.contains(' '))
        .collect()
}

/// Where a link leads: a file, and a heading in it.
pub fn resolve(document: &str, link: &str) -> (PathBuf, Option<String>) {
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (link, None),
    };
    let file = match path {
        "" => Path::new(document).to_owned(),
        path => Path::new(document).parent().unwrap().join(path),
    };
    (root().join(file), anchor)
}

/// The words of every command of `gunyu` in a script of bash, as far as they can be told without running it. What is in a here-document is none.
pub fn commands(script: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut lines = without_here_documents(script);
    lines = lines.replace("\\\n", " ");
    read(&lines, &mut found);
    found.retain(|words: &Vec<String>| words.first().is_some_and(|first| first == "gunyu"));
    found
}

fn without_here_documents(script: &str) -> String {
    let (mut kept, mut until) = (String::new(), None::<String>);
    for line in script.lines() {
        match &until {
            Some(end) if line == end => until = None,
            Some(_) => {}
            None => {
                let begins = line.split_once("<<").map(|(_, rest)| rest);
                let word = begins.and_then(|rest| rest.split_whitespace().next());
                until = word.map(|word| word.trim_matches(['\'', '"', '-']).to_owned());
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    kept
}

/// Words that stand before a command and are none of it.
const BEFORE: [&str; 10] = [
    "until", "while", "if", "then", "do", "else", "!", "sudo", "time", "{",
];

fn read(script: &str, found: &mut Vec<Vec<String>>) {
    let (mut words, mut word, mut quote) = (Vec::<String>::new(), None::<String>, None::<char>);
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, '$') if chars.peek() == Some(&'(') => {
                let inner = in_parentheses(&mut chars);
                read(&inner, found);
                word.get_or_insert_default().push_str("$()");
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            // A redirection: what follows is no word of the command.
            (None, '>' | '<') => {
                words.extend(word.take().filter(|word| word != "2"));
                while chars.next_if(|c| "> &<".contains(*c)).is_some() {}
                while chars
                    .next_if(|c| !c.is_whitespace() && !";|&".contains(*c))
                    .is_some()
                {}
            }
            (None, c)
                if c.is_whitespace() || ";|&(){}".contains(c) && word.is_none() || ";|&".contains(c) =>
            {
                words.extend(word.take());
                if c == '\n' || ";|&(){}".contains(c) {
                    finish(&mut words, found);
                }
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    finish(&mut words, found);
}

fn in_parentheses(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let (mut depth, mut inner) = (0, String::new());
    for c in chars.by_ref() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        inner.push(c);
        if depth == 0 {
            break;
        }
    }
    inner.pop();
    inner.split_off(1)
}

fn finish(words: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let is_before = |word: &String| BEFORE.contains(&word.as_str()) || is_assignment(word);
    let begins = words
        .iter()
        .position(|word| !is_before(word))
        .unwrap_or(words.len());
    let command = words.split_off(begins);
    words.clear();
    found.push(command);
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

#[test]
fn commands_are_found_wherever_a_script_has_them() {
    let script = "cat > a <<'END'\ngunyu no command\nEND\n\
        from=redis://a gunyu sync --source $from   # gunyu in a comment\n\
        until gunyu status --json | jq -e 'all(.X == \"gunyu\")' > /dev/null; do sleep 1; done\n\
        a=$(gunyu gc --json) && gunyu verify --x 'a b' \\\n  --y > out 2> err || echo \"gunyu\"\n";
    let found: Vec<String> = commands(script).iter().map(|words| words.join("_")).collect();
    assert_eq!(
        found,
        [
            "gunyu_sync_--source_$from",
            "gunyu_status_--json",
            "gunyu_gc_--json",
            "gunyu_verify_--x_a b_--y"
        ]
    );
}

#[test]
fn fences_that_parse_would_miss_are_told() {
    for text in [
        "``` sh\ngunyu gc\n```\n",
        "```sh \ngunyu gc\n```\n",
        "```sh {run}\ngunyu gc\n```\n",
        "```bash\ngunyu gc\n```\n",
        "  ```sh\n  gunyu gc\n  ```\n",
        "~~~\ngunyu gc\n~~~\n",
        "    gunyu gc\n",
    ] {
        assert!(!unseen("d", text).is_empty(), "{text:?}");
    }
    let plain = "```sh\n    gunyu gc\n```\n```\nx\n```\n    a + b\n";
    assert_eq!(unseen("d", plain), [""; 0]);
}

#[test]
fn blocks_know_their_heading_their_number_and_their_line() {
    let text = "# A\n\n```sh\none\n```\n\n## B c\n```sh\ntwo\n```\n```yaml\nx: 1\n```\n```sh\nthree\n```\n";
    let found = parse("d", text);
    let told: Vec<(&str, usize, &str, usize)> = found
        .iter()
        .map(|one| (one.heading.as_str(), one.nth, one.language.as_str(), one.line))
        .collect();
    assert_eq!(
        told,
        [
            ("A", 0, "sh", 4),
            ("B c", 0, "sh", 9),
            ("B c", 0, "yaml", 12),
            ("B c", 1, "sh", 15)
        ]
    );
    assert_eq!(anchors("# A b, c!\n```\n# no\n```\n"), ["a-b-c"]);
}
