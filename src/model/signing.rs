use std::fmt::Write as _;

use ring::{digest, hmac};

use super::Secret;

/// The word that begins the `Authorization` of a signed request.
const SCHEME: &str = "HMAC-SHA256";

/// A request to a hub that is signed with an account's secret key instead of carrying a key.
///
/// As `Authorization: HMAC-SHA256 key=…,time=…,nonce=…,body=…,signature=…`. The signature is the
/// HMAC-SHA256, by the secret key, over method, path with query, `body`, `time` and `nonce`, with a
/// line feed between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// The account's public identifier.
    pub api_key: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Whatever no other request of the account has: 16 to 64 letters, digits, `-` and `_`.
    pub nonce: String,
    /// SHA-256 of the body, of nothing where there is none: 64 hexadecimal digits in lower case.
    pub body: String,
}

impl Signing {
    /// Longest and shortest nonce, in bytes.
    const NONCE: std::ops::RangeInclusive<usize> = 16..=64;

    /// The SHA-256 of a body as it stands in [`Signing::body`].
    pub fn digest(body: &[u8]) -> String {
        hex(digest::digest(&digest::SHA256, body).as_ref())
    }

    /// Reads `Authorization`, and gives the signature apart; `None` where it is of another scheme or
    /// not as it has to be.
    pub fn read(authorization: &str) -> Option<(Self, String)> {
        let (scheme, rest) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let mut members = [const { None }; 5];
        for member in rest.split(',') {
            let (name, value) = member.trim().split_once('=')?;
            let place =
                ["key", "time", "nonce", "body", "signature"].iter().position(|n| *n == name)?;
            if members[place].replace(value.to_owned()).is_some() {
                return None;
            }
        }
        let [Some(api_key), Some(time), Some(nonce), Some(body), Some(signature)] = members else {
            return None;
        };
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !Self::NONCE.contains(&nonce.len()) || !nonce.bytes().all(word) {
            return None;
        }
        Some((Self { api_key, time: time.parse().ok()?, nonce, body }, signature))
    }

    /// Whether a word of `Authorization` is of this scheme at all.
    pub fn is(authorization: &str) -> bool {
        authorization.split_once(' ').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// `Authorization` for this request. `target` is the path with its query.
    pub fn authorization(&self, secret: &Secret, method: &str, target: &str) -> String {
        let tag = hmac::sign(&key(secret), self.text(method, target).as_bytes());
        let Self { api_key, time, nonce, body } = self;
        let signature = hex(tag.as_ref());
        format!(
            "{SCHEME} key={api_key},time={time},nonce={nonce},body={body},signature={signature}"
        )
    }

    /// Whether `signature` is that of this request by `secret`, in constant time.
    pub fn holds(&self, secret: &Secret, method: &str, target: &str, signature: &str) -> bool {
        let Some(given) = unhex(signature) else { return false };
        hmac::verify(&key(secret), self.text(method, target).as_bytes(), &given).is_ok()
    }

    /// What is signed.
    fn text(&self, method: &str, target: &str) -> String {
        let Self { time, nonce, body, .. } = self;
        format!("{method}\n{target}\n{body}\n{time}\n{nonce}")
    }
}

fn key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signing() -> Signing {
        Signing {
            api_key: "A".repeat(26),
            time: 1_795_380_130,
            nonce: "0123456789abcdef".to_owned(),
            body: Signing::digest(b""),
        }
    }

    #[test]
    fn what_is_written_is_read_and_holds_for_that_request_alone() {
        let secret = Secret::new("s");
        let written = signing().authorization(&secret, "GET", "/api/v1/plugins?limit=1");
        let (read, signature) = Signing::read(&written).unwrap();
        assert_eq!(read, signing());
        assert!(read.holds(&secret, "GET", "/api/v1/plugins?limit=1", &signature));
        assert!(!read.holds(&secret, "POST", "/api/v1/plugins?limit=1", &signature));
        assert!(!read.holds(&secret, "GET", "/api/v1/plugins?limit=2", &signature));
        assert!(!read.holds(&Secret::new("t"), "GET", "/api/v1/plugins?limit=1", &signature));
        for other in [
            Signing { time: 0, ..signing() },
            Signing { nonce: "fedcba9876543210".to_owned(), ..signing() },
            Signing { body: Signing::digest(b"x"), ..signing() },
        ] {
            assert!(!other.holds(&secret, "GET", "/api/v1/plugins?limit=1", &signature));
        }
        assert!(!read.holds(&secret, "GET", "/api/v1/plugins?limit=1", "é"));
    }

    /// Body and signature by `printf TEXT | openssl dgst -sha256`, the latter with `-hmac SECRET`.
    #[test]
    fn another_program_signs_alike() {
        let body = br#"{"name": "gate"}"#;
        let written = "HMAC-SHA256 key=ABCDEFGHIJKLMNOPQRSTUVWXYZ,time=1795380130,\
            nonce=0123456789abcdef,\
            body=3ac77ac3e2b1a8a84026d32cf43d48c568b94f7fa5d76b7146357bec4f27bc7c,\
            signature=03c366088ac118c3c3c1a2e3bf231e18209df9d671b938c6311596c00d8463b4";
        let secret = Secret::new("5f1d9c0b7a3e4d2c8f6b1a0e9d8c7b6a");
        let target = "/api/v1/monitors?if_missing=true";
        let (read, signature) = Signing::read(written).unwrap();
        assert_eq!(read.body, Signing::digest(body));
        assert!(read.holds(&secret, "POST", target, &signature));
        assert_eq!(read.authorization(&secret, "POST", target), written);
    }

    #[test]
    fn what_is_not_as_it_has_to_be_is_none() {
        let good = signing().authorization(&Secret::new("s"), "GET", "/");
        assert!(Signing::read(&good.replacen("HMAC-SHA256", "hmac-sha256", 1)).is_some());
        for wrong in [
            "Bearer x",
            "HMAC-SHA256",
            "HMAC-SHA256 ",
            &good.replace("time=1", "time=x"),
            &good.replace("nonce=0123", "nonce="),
            &good.replace("nonce=0123", "nonce=01 3"),
            &format!("{good},time=1"),
            &format!("{good},more=1"),
        ] {
            assert_eq!(Signing::read(wrong), None, "{wrong}");
        }
    }
}
