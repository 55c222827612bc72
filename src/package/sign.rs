//! Signatures: Ed25519 over the very bytes that are read afterwards.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::model::Secret;

/// Before the key in its file, so that scanners for secrets, and people, can tell what it is.
const MARK: &str = "talaia-registry-key-1:";

/// Why something is not signed as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The text is no key.
    #[error("this is not a registry's key: a file with one line that begins with `{MARK}`")]
    Key,
    /// The signature is not that of the key.
    #[error("the signature is not that of the key {0}")]
    Forged(PublicKey),
    /// The signed text is not what it is to be.
    #[error("what was signed cannot be read: {0}")]
    Payload(String),
    /// The system has no randomness to give.
    #[error("the system gives no randomness for a key")]
    Random,
}

/// The key by which a registry vouches for packages.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl SigningKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, SignError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| SignError::Random)?;
        Self::of(seed)
    }

    fn of(seed: [u8; 32]) -> Result<Self, SignError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SignError::Key)?;
        Ok(Self { pair, seed })
    }

    /// Reads the text of a key's file.
    pub fn parse(text: &str) -> Result<Self, SignError> {
        let key = text.trim().strip_prefix(MARK).ok_or(SignError::Key)?;
        let seed = STANDARD.decode(key).map_err(|_| SignError::Key)?;
        Self::of(seed.try_into().map_err(|_| SignError::Key)?)
    }

    /// The text for its file.
    pub fn to_text(&self) -> Secret {
        Secret::new(format!("{MARK}{}\n", STANDARD.encode(self.seed)))
    }

    /// What others know it by.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }
}

/// What a registry's key is known by. Shown as its fingerprint, written as base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// `SHA256:` and the hash of the key, as people compare it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(self.0)))
    }

    /// Whether `text` is this key's fingerprint.
    pub fn is(&self, text: &str) -> bool {
        text.trim().trim_end_matches('=') == self.fingerprint()
    }

    fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), SignError> {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(bytes, signature).map_err(|_| SignError::Forged(*self))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = SignError;

    /// From base64.
    fn from_str(text: &str) -> Result<Self, SignError> {
        let bytes = STANDARD.decode(text).map_err(|_| SignError::Key)?;
        Ok(Self(bytes.try_into().map_err(|_| SignError::Key)?))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A text and who vouches for it. The text is JSON, and signed byte for byte, so that there is no
/// question of how it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    payload: String,
    key: PublicKey,
    signature: String,
}

impl Envelope {
    /// Signs `value`.
    pub fn seal<T: Serialize>(value: &T, key: &SigningKey) -> Result<Self, SignError> {
        let payload =
            serde_json::to_string(value).map_err(|e| SignError::Payload(e.to_string()))?;
        let signature = STANDARD.encode(key.sign(payload.as_bytes()));
        Ok(Self { payload, key: key.public(), signature })
    }

    /// The key that it says it is signed by. Whether that one is trusted is for the caller to know.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// What was signed, where its key really signed it.
    pub fn open<T: DeserializeOwned>(&self) -> Result<T, SignError> {
        let signature =
            STANDARD.decode(&self.signature).map_err(|_| SignError::Forged(self.key))?;
        self.key.verify(self.payload.as_bytes(), &signature)?;
        serde_json::from_str(&self.payload).map_err(|e| SignError::Payload(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_is_not_shown() {
        let key = SigningKey::generate().unwrap();
        let text = key.to_text();
        assert_eq!(SigningKey::parse(text.expose()).unwrap().public(), key.public());
        let shown = format!("{key:?}");
        assert!(shown.contains("SHA256:") && !shown.contains(&text.expose()[MARK.len()..][..10]));
        assert!(key.public().is(&key.public().fingerprint()));
        for bad in ["", "talaia-registry-key-1:", "talaia-registry-key-1:AAAA", "x"] {
            assert_eq!(SigningKey::parse(bad).unwrap_err(), SignError::Key);
        }
    }

    #[test]
    fn what_was_signed_cannot_be_changed() {
        let key = SigningKey::generate().unwrap();
        let sealed = Envelope::seal(&serde_json::json!({"a": 1}), &key).unwrap();
        let value: serde_json::Value = sealed.open().unwrap();
        assert_eq!(value["a"], 1);
        let mut changed = sealed.clone();
        changed.payload = changed.payload.replace('1', "2");
        assert!(matches!(changed.open::<serde_json::Value>(), Err(SignError::Forged(_))));
        let mut other = sealed.clone();
        other.key = SigningKey::generate().unwrap().public();
        assert!(matches!(other.open::<serde_json::Value>(), Err(SignError::Forged(_))));
        let mut cut = sealed;
        cut.signature.truncate(10);
        assert!(cut.open::<serde_json::Value>().is_err());
    }

    #[test]
    fn a_published_signature_holds() {
        // RFC 8032, section 7.1, test 2.
        let bytes = |text: &str| -> Vec<u8> {
            (0..text.len())
                .step_by(2)
                .map(|n| u8::from_str_radix(&text[n..n + 2], 16).unwrap())
                .collect()
        };
        let seed = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey::of(seed.try_into().unwrap()).unwrap();
        let signature = bytes(concat!(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ));
        assert_eq!(key.sign(&[0x72]), signature);
        assert_eq!(key.public().verify(&[0x72], &signature), Ok(()));
    }
}
