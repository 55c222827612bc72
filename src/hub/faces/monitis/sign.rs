//! Whether a request was signed with the account's secret key.
//!
//! The checksum is `Base64(HMAC-SHA1(secret, name1value1name2value2…))` over all parameters but
//! itself, sorted by name, their values decoded once. SHA-1 is what the old clients speak; as a MAC
//! it still holds, and nothing else in the hub uses it.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;

use crate::model::Secret;

use super::form::Form;

/// The parameter that carries it.
const CHECKSUM: &str = "checksum";

/// Padding or none: clients differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether the form's checksum is that of `secret`, compared in constant time.
pub(super) fn is_signed(form: &Form, secret: &Secret) -> bool {
    let Some(given) = form.get(CHECKSUM) else { return false };
    // A client that does not encode its form has its `+` read as a space.
    let Ok(given) = BASE64.decode(given.replace(' ', "+")) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
    hmac::verify(&key, message(form).as_bytes(), &given).is_ok()
}

/// What is signed.
fn message(form: &Form) -> String {
    let mut pairs: Vec<&(String, String)> =
        form.pairs().iter().filter(|(name, _)| name != CHECKSUM).collect();
    pairs.sort();
    pairs.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/monitis/recorded.txt"));

    fn checksum(secret: &str, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        BASE64.encode(hmac::sign(&key, text.as_bytes()))
    }

    fn signed(body: &str, secret: &str) -> bool {
        is_signed(&Form::read("", body).unwrap(), &Secret::new(secret))
    }

    #[test]
    fn the_published_vectors_hold() {
        assert_eq!(checksum("notReallyASecret", "key1barkey2foo"), "ML1TdJ/wQc06CdIREtddB19wsKM=");
        assert!(signed(
            "key2=foo&checksum=ML1TdJ%2FwQc06CdIREtddB19wsKM%3D&key1=bar",
            "notReallyASecret"
        ));
        let secret = "3MLLPEP6KB4F4NH0OCR0VN9RIV";
        assert_eq!(checksum(secret, "Hello World"), "MvtCt7HhnJWR6P0GmvZb6uB25rk=");
        assert!(signed(
            "action=addMonitor&apikey=5Q1UJD45IM5C21MVOJGIIIREIK\
             &monitorParams=search_engine%3ASearch+Engine%3Awww.google.com%3A3%3AFalse%3B\
             &name=simple_custom_monitor&resultParams=position%3APosition%3AN%2FA%3A3%3B\
             &tag=website+position+checkers&timestamp=2011-07-13+17%3A30%3A00&version=2\
             &checksum=4K8FWZikUnHJtsbVb9FLXQFo16Q%3D",
            secret
        ));
    }

    /// Requests of each client, as they come over the wire.
    #[test]
    fn recorded_requests_are_signed() {
        let mut count = 0;
        for request in RECORDED.split("\n\n").map(str::trim).filter(|r| !r.starts_with('#')) {
            let mut lines = request.lines();
            let (name, first) = (lines.next().unwrap(), lines.next().unwrap());
            let target = first.split(' ').nth(1).unwrap();
            let query = target.split_once('?').map_or("", |(_, query)| query);
            let form = Form::read(query, lines.next().unwrap_or_default()).unwrap();
            if !form.has(CHECKSUM) {
                continue;
            }
            count += 1;
            let secret = Secret::new("SECRETSECRETSECRETSECRET01");
            assert!(is_signed(&form, &secret), "{name}: {}", message(&form));
            assert!(!is_signed(&form, &Secret::new("SECRETSECRETSECRETSECRET02")), "{name}");
        }
        assert_eq!(count, 5);
    }

    #[test]
    fn changes_show() {
        let body = "key2=foo&key1=bar&checksum=";
        let good = "ML1TdJ/wQc06CdIREtddB19wsKM";
        assert!(signed(&format!("{body}{good}"), "notReallyASecret"), "without padding");
        assert!(!signed(&format!("{body}{good}&key3="), "notReallyASecret"), "a further parameter");
        assert!(!signed(body, "notReallyASecret"), "none");
        assert!(!signed(&format!("{body}ML1T"), "notReallyASecret"), "cut");
        assert!(!signed(&format!("{body}%2A%2A"), "notReallyASecret"), "not Base64");
    }

    #[test]
    fn a_plus_that_was_not_encoded_is_one_all_the_same() {
        // As clients send it that do not encode their forms at all.
        let text = (0..100)
            .map(|n| format!("v{n}"))
            .find(|value| checksum("s", &format!("k{value}")).contains('+'))
            .unwrap();
        let sum = checksum("s", &format!("k{text}"));
        assert!(signed(&format!("k={text}&checksum={sum}"), "s"), "{sum}");
    }
}
