use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Seq;

/// What a hub answers to a batch: the wire form of `200` on `POST /api/v1/ingest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReply {
    /// The stream's mark: every report up to and including this one is stored.
    pub through: Seq,
    /// Reports of this batch that were new.
    pub accepted: u64,
    /// Reports of this batch at or below the mark.
    pub duplicates: u64,
    /// Reports of this batch that the hub will never take. Of duplicates, those that it refused when
    /// they came for the first time.
    #[serde(default)]
    pub refused: Vec<Refused>,
}

/// A report that a destination will never take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which one.
    pub seq: Seq,
    /// Why, as a word.
    pub code: String,
    /// Why, as a sentence.
    pub message: String,
}

/// What one attempt to deliver a batch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The destination has it for good, but for the refused ones.
    Delivered {
        /// Reports of the batch that it will never take.
        refused: Vec<Refused>,
    },
    /// The destination has this and more, up to a report that was given and is not in the batch:
    /// sent before, or by a copy of this spool. The batch that holds that report will show which,
    /// and until then there is no receipt.
    Ahead,
    /// Not now. `after` is what the destination asked for.
    Retry {
        /// At the earliest after this long.
        after: Option<Duration>,
        /// One clear line.
        why: String,
    },
    /// Too large: send it in halves; a single report that is too large is refused.
    Split,
    /// The destination says that something in the batch can never be taken: send it in halves
    /// until the culprits are alone.
    Bisect {
        /// One clear line.
        why: String,
    },
    /// A person is needed: keep the data, try slowly, show red.
    Hold {
        /// One clear line.
        why: String,
    },
    /// The destination knows more of this stream than the spool ever gave, or another report under
    /// a number of it: this spool, or another, is a copy.
    Cloned,
}

impl Verdict {
    /// The receipt for a batch that ends at `through`, if this verdict allows one. The only maker
    /// of receipts.
    pub fn receipt(self, output: &str, through: Seq) -> Result<Receipt, Verdict> {
        match self {
            Self::Delivered { refused } => {
                Ok(Receipt { output: output.to_owned(), through, refused })
            }
            other => Err(other),
        }
    }
}

/// Proof that a destination has every report up to `through`, but for the refused ones. The only
/// thing that moves a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a receipt that is not given to the spool means sending the batch again"]
pub struct Receipt {
    output: String,
    through: Seq,
    refused: Vec<Refused>,
}

impl Receipt {
    /// The output whose cursor it moves.
    pub fn output(&self) -> &str {
        &self.output
    }

    /// The last report it covers.
    pub fn through(&self) -> Seq {
        self.through
    }

    /// Reports that the destination will never take.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }
}
