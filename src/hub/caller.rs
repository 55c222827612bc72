//! Who calls the hub, and what they may do.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What a key allows. None of them implies another: a key that sends reads nothing, so that one that
/// leaks from a place is of use for what that place does only. `admin` is the exception in effect: it
/// reads no results itself, but can make a key of any scope, and is to be guarded as all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// To send reports and results.
    Ingest,
    /// To read what was sent.
    Read,
    /// To look at plugins that were handed in, and to approve or reject them.
    Review,
    /// To change keys and monitors, and to read the audit log.
    Admin,
}

impl Scope {
    pub(crate) const ALL: [Self; 4] = [Self::Ingest, Self::Read, Self::Review, Self::Admin];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Review => "review",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| NoScope { given: text.chars().take(40).collect() })
    }
}

/// Why a text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a scope; the scopes are ingest, read, review and admin")]
pub(crate) struct NoScope {
    given: String,
}

/// A set of scopes; as text their words with spaces between, as JSON an array of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scopes(u8);

impl Scopes {
    /// All there are: what a person who is logged in may do.
    pub(crate) const ALL: Self = Self(0b1111);

    pub(crate) fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    pub(crate) fn with(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u8)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    /// From the database. Words of a later version allow nothing here.
    pub(crate) fn stored(text: &str) -> Self {
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        scopes.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { " " }, scope.as_str())?;
        }
        Ok(())
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter().map(Scope::as_str))
    }
}

tokio::task_local! {
    /// Whose signature the request at hand has.
    static SIGNED: Caller;
}

/// Who calls, and what they may do.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) account: i64,
    pub(crate) scopes: Scopes,
    /// For the audit log: `key web-1`, `session`, or the name of an interface.
    pub(crate) actor: String,
}

impl Caller {
    /// A person who is logged in may do everything.
    pub(crate) fn of_session(account: i64) -> Self {
        Self { account, scopes: Scopes::ALL, actor: "session".to_owned() }
    }

    /// Who has the account's secret key is the account itself.
    pub(crate) fn of_secret(account: i64) -> Self {
        Self { account, scopes: Scopes::ALL, actor: "secret key".to_owned() }
    }

    /// Has a request answered as one that this caller signed.
    pub(crate) async fn signed<T>(self, answer: impl Future<Output = T>) -> T {
        SIGNED.scope(self, answer).await
    }

    /// Who signed the request at hand.
    pub(crate) fn of_signature() -> Option<Self> {
        SIGNED.try_with(Clone::clone).ok()
    }
}
