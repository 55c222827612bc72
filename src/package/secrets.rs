//! Secrets that somebody packed by mistake, by their look.

use super::contents::PackageFile;
use super::finding::Finding;

/// Beginnings of tokens that are secret wherever they are: what they are, how they begin, and how many
/// letters and digits follow at least.
const TOKENS: [(&str, &str, usize); 9] = [
    ("a key of AWS", "AKIA", 16),
    ("a token of GitHub", "ghp_", 36),
    ("a token of GitHub", "github_pat_", 22),
    ("a token of GitLab", "glpat-", 20),
    ("a token of Slack", "xoxb-", 20),
    ("a token of Slack", "xoxp-", 20),
    ("a key of Stripe", "sk_live_", 20),
    ("a key of Google", "AIza", 35),
    ("a key of a hub", "talaia_", 64),
];
/// Words that a value with a password in it is called by.
const WORDS: [&str; 6] = ["password", "passwd", "secret", "api_key", "apikey", "token"];

/// What looks like a secret in a file. Values are never repeated.
pub(super) fn scan(file: &PackageFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let text = String::from_utf8_lossy(&file.bytes);
    let help = "take it out, and make a new one: this one has been seen";
    for (n, line) in text.lines().enumerate() {
        let error = |what: &str| {
            Finding::error(&file.path, format!("this looks like {what}"), help).at(n + 1)
        };
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY") {
            findings.push(error("a private key"));
        }
        for (what, begin, least) in TOKENS {
            if line.match_indices(begin).any(|(at, _)| is_token(line, at, begin.len(), least)) {
                findings.push(error(what));
            }
        }
        if let Some(word) = assigned(line) {
            let message = format!("a `{word}` stands here in clear");
            let help = "let the operator set it: `[packages.NAME.config]` can name a file for it";
            findings.push(Finding::warning(&file.path, message, help).at(n + 1));
        }
        if findings.len() > 20 {
            break;
        }
    }
    findings
}

/// Whether a token stands at `at`: not in the midst of a word, and with enough behind its beginning.
fn is_token(line: &str, at: usize, begin: usize, least: usize) -> bool {
    let before = line[..at].chars().next_back();
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    before.is_none_or(|c| !c.is_ascii_alphanumeric())
        && line[at + begin..].chars().take(least).filter(|c| letters(*c)).count() == least
}

/// The word for a secret that gets a value of eight characters or more on this line.
fn assigned(line: &str) -> Option<&'static str> {
    let lower = line.to_ascii_lowercase();
    let word = WORDS.into_iter().find(|word| lower.contains(word))?;
    let after = &line[lower.find(word)? + word.len()..];
    let value = after.trim_start_matches(['"', '\'', ' ']);
    let value = value.strip_prefix(['=', ':'])?.trim_start();
    let quote = value.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let value = value[1..].split(quote).next()?;
    let plain = value.len() >= 8
        && !value.contains(['$', '{', '<', ' ', '/'])
        && value.chars().any(|c| c.is_ascii_digit());
    plain.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::super::template::FileMode;
    use super::*;

    fn said(text: &str) -> String {
        let bytes = text.as_bytes().to_vec();
        let file = PackageFile { path: "f".to_owned(), mode: FileMode::Plain, bytes };
        scan(&file).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_looks_like_a_secret_is_said_and_not_repeated() {
        // Put together here, so that this file does not look like one that has a secret.
        let key = format!("-----BEGIN RSA {} KEY-----", "PRIVATE");
        assert!(said(&format!("a\n{key}\n")).contains("f:2: this looks like a private key"));
        let token = format!("url = x?t={}{}", "ghp_", "a".repeat(36));
        assert!(said(&token).contains("token of GitHub"));
        let hub = format!("talaia_{}", "0".repeat(64));
        assert!(said(&hub).contains("key of a hub"));
        let word = said("  \"Password\": \"hunter2hunter2\",");
        assert!(word.contains("`password` stands here in clear") && !word.contains("hunter"));
        for fine in [
            "TALAIA_STATE_DIR talaia_state ghp_ AKIA",
            "password = { file = \"/etc/pw\" }",
            "token = \"$TOKEN12345\"",
            "# the secret: \"of a good plugin 1\"",
            "password: \"short1\"",
        ] {
            assert_eq!(said(fine), "", "{fine}");
        }
    }
}
