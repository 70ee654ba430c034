//! Rust source as tokens: without comments, and without the insides of literals.

/// A word, a literal (only its opening quote is kept), or one character of punctuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// Splits source into tokens. Comments vanish; of a string, character or byte literal only the
/// opening quote stays, so that a rule never finds a word inside one.
pub(super) fn lex(text: &str) -> Vec<Token> {
    split(text, false)
}

/// As [`lex`], with literals as they are written, quotes included.
pub(super) fn lex_with_literals(text: &str) -> Vec<Token> {
    split(text, true)
}

fn split(text: &str, literals: bool) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let start = at;
        let rest = &chars[at..];
        let text = match rest {
            ['/', '/', ..] => {
                at += rest.iter().take_while(|c| **c != '\n').count();
                String::new()
            }
            ['/', '*', ..] => {
                at += block_comment_len(rest);
                String::new()
            }
            [c, ..] if c.is_whitespace() => {
                at += 1;
                String::new()
            }
            _ => {
                if let Some(len) = literal_len(rest) {
                    at += len;
                    if literals {
                        rest[..len].iter().collect()
                    } else {
                        "\"".to_owned()
                    }
                } else if rest[0].is_alphanumeric() || rest[0] == '_' {
                    // A raw identifier is the word it stands for.
                    let raw = rest.starts_with(&['r', '#']);
                    at += if raw { 2 } else { 0 };
                    let word = chars[at..]
                        .iter()
                        .take_while(|c| c.is_alphanumeric() || **c == '_');
                    let word: String = word.collect();
                    at += word.chars().count();
                    word
                } else {
                    at += 1;
                    rest[0].to_string()
                }
            }
        };
        if !text.is_empty() {
            tokens.push(Token { text, line });
        }
        line += chars[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// Gives the lines at which `pattern` stands, matched token by token: `std::env` finds
/// `std :: env`, never `my_std::env` or `std::environment`.
pub(super) fn lines_with(tokens: &[Token], pattern: &str) -> Vec<usize> {
    let pattern = lex(pattern);
    tokens
        .windows(pattern.len())
        .filter(|window| window.iter().zip(&pattern).all(|(a, b)| a.text == b.text))
        .map(|window| window[0].line)
        .collect()
}

/// Gives the tokens as one line, for tests.
pub(super) fn words(tokens: &[Token]) -> String {
    let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    words.join(" ")
}

/// Block comments nest.
fn block_comment_len(chars: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < chars.len() {
        match &chars[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// Gives the length of the string, byte string, C string, character or byte literal at the start,
/// raw or not; a lifetime or a label is none.
fn literal_len(chars: &[char]) -> Option<usize> {
    let prefix = match chars {
        ['b' | 'c', 'r', '"' | '#', ..] => 2,
        ['r', '"' | '#', ..] => 1,
        ['b' | 'c', '"', ..] | ['b', '\'', ..] => 1,
        _ => 0,
    };
    let raw = prefix > 0 && chars[prefix - 1] == 'r';
    let rest = &chars[prefix..];
    if raw {
        let hashes = rest.iter().take_while(|c| **c == '#').count();
        if rest.get(hashes) != Some(&'"') {
            return None;
        }
        let body = hashes + 1;
        let closes = |at: &usize| {
            rest[*at] == '"'
                && rest[at + 1..]
                    .iter()
                    .take(hashes)
                    .filter(|c| **c == '#')
                    .count()
                    == hashes
        };
        let end = (body..rest.len())
            .find(closes)
            .map_or(rest.len(), |at| at + 1 + hashes);
        return Some(prefix + end);
    }
    match rest {
        ['"', ..] => Some(prefix + quoted_len(rest, '"')),
        // `'x'` and `'\n'` are characters, `'x` is a lifetime.
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => Some(prefix + quoted_len(rest, '\'')),
        _ => None,
    }
}

fn quoted_len(chars: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

#[test]
fn comments_and_the_insides_of_literals_are_no_code() {
    let cases = [
        ("a // b\nc", "a c"),
        ("a /* b /* c */ d */ e", "a e"),
        (
            r#"a("b \" c", 'd', '\'', b'e', b"f", c"g")"#,
            r#"a ( " , " , " , " , " , " )"#,
        ),
        (r###"r"a" r#"b " c"# br##"d "# e"## f"###, r#"" " " f"#),
        (
            "fn a<'b>(c: &'b u8) { 'd: loop {} }",
            "fn a < ' b > ( c : & ' b u8 ) { ' d : loop { } }",
        ),
        ("r#type // r#\"", "type"),
        ("\"never closed", "\""),
    ];

    for (text, expected) in cases {
        assert_eq!(words(&lex(text)), expected, "{text}");
    }
}

#[test]
fn tokens_know_their_line() {
    let tokens = lex("a\n/* b\n */ c \"d\n\" e");

    let lines: Vec<_> = tokens
        .iter()
        .map(|token| (token.text.as_str(), token.line))
        .collect();

    assert_eq!(lines, [("a", 1), ("c", 3), ("\"", 3), ("e", 4)]);
}

#[test]
fn patterns_match_whole_words() {
    let tokens = lex("std::env my_std::env std::environment\nstd :: env");

    assert_eq!(lines_with(&tokens, "std::env"), [1, 2]);
}
