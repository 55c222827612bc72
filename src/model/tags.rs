use std::cmp::Ordering;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Tags, sorted by key, each key once. On the wire an object of strings.
///
/// All keys and values stand in one text, and the ends of a few fit beside it: a metric with tags
/// costs one allocation, with many tags two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tags {
    /// Key, value, key, value…
    text: String,
    /// Where each key and each value ends in it.
    ends: Ends,
}

/// How many pairs of ends need no allocation.
const FEW: usize = 3;

/// A list of pairs of ends.
#[derive(Clone)]
enum Ends {
    /// As many as the first number says, then zeros.
    Few(u8, [[u32; 2]; FEW]),
    Many(Vec<[u32; 2]>),
}

impl Ends {
    const fn new() -> Self {
        Self::Few(0, [[0; 2]; FEW])
    }

    fn with_capacity(tags: usize) -> Self {
        if tags > FEW { Self::Many(Vec::with_capacity(tags)) } else { Self::new() }
    }

    fn as_slice(&self) -> &[[u32; 2]] {
        match self {
            Self::Few(len, ends) => &ends[..usize::from(*len).min(FEW)],
            Self::Many(ends) => ends,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [[u32; 2]] {
        match self {
            Self::Few(len, ends) => &mut ends[..usize::from(*len).min(FEW)],
            Self::Many(ends) => ends,
        }
    }

    fn insert(&mut self, at: usize, pair: [u32; 2]) {
        match self {
            Self::Few(len, ends) if usize::from(*len) < FEW => {
                *len += 1;
                ends[at..usize::from(*len)].rotate_right(1);
                ends[at] = pair;
            }
            Self::Few(_, ends) => {
                let mut many = ends.to_vec();
                many.insert(at, pair);
                *self = Self::Many(many);
            }
            Self::Many(ends) => ends.insert(at, pair),
        }
    }
}

impl Default for Ends {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Ends {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Ends {}

impl std::hash::Hash for Ends {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl Tags {
    /// No tags.
    pub const fn new() -> Self {
        Self { text: String::new(), ends: Ends::new() }
    }

    /// No tags, and room for some, with so many bytes of keys and values.
    pub fn with_capacity(tags: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Ends::with_capacity(tags) }
    }

    /// Sets `key` to `value` and says whether the key was new.
    pub fn insert(&mut self, key: &str, value: &str) -> bool {
        // In order is how they mostly come.
        let len = self.len();
        if len == 0 || self.pair(len - 1).0 < key {
            self.text.push_str(key);
            let key_end = self.text.len() as u32;
            self.text.push_str(value);
            self.ends.insert(len, [key_end, self.text.len() as u32]);
            return true;
        }
        match self.find(key) {
            Ok(at) => {
                let ends = &mut self.ends.as_mut_slice()[at];
                let [key_end, value_end] = ends.map(|end| end as usize);
                self.text.replace_range(key_end..value_end, value);
                ends[1] = (key_end + value.len()) as u32;
                self.shift(at + 1, value.len() as i64 - (value_end - key_end) as i64);
                false
            }
            Err(at) => {
                let start = self.start(at);
                self.text.insert_str(start, value);
                self.text.insert_str(start, key);
                let key_end = start + key.len();
                self.ends.insert(at, [key_end as u32, (key_end + value.len()) as u32]);
                self.shift(at + 1, (key.len() + value.len()) as i64);
                true
            }
        }
    }

    /// Adds the tags of `under` whose keys are not here yet.
    pub fn fill_from(&mut self, under: &Tags) {
        for (key, value) in under.iter() {
            if self.find(key).is_err() {
                self.insert(key, value);
            }
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.find(key).ok().map(|at| self.pair(at).1)
    }

    /// Key and value, in the order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        (0..self.len()).map(|at| self.pair(at))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.as_slice().len()
    }

    /// How many bytes their keys and values have.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends.as_slice()[before][1] as usize)
    }

    fn pair(&self, at: usize) -> (&str, &str) {
        let [key_end, value_end] = self.ends.as_slice()[at].map(|end| end as usize);
        (&self.text[self.start(at)..key_end], &self.text[key_end..value_end])
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.pair(middle).0.cmp(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Moves the ends of all tags from `from` on by `bytes`.
    fn shift(&mut self, from: usize, bytes: i64) {
        for ends in &mut self.ends.as_mut_slice()[from..] {
            *ends = ends.map(|end| (i64::from(end) + bytes) as u32);
        }
    }
}

impl PartialOrd for Tags {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Tags {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut tags = Self::new();
        for (key, value) in pairs {
            tags.insert(key.as_ref(), value.as_ref());
        }
        tags
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Tags;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags, A::Error> {
                let mut tags = Tags::new();
                while let Some((key, value)) = map.next_entry::<Box<str>, Box<str>>()? {
                    tags.insert(&key, &value);
                }
                Ok(tags)
            }
        }

        d.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_are_a_sorted_map(
            pairs in prop::collection::vec(("[a-cé]{0,2}", "[x-zü]{0,3}"), 0..12),
            under in prop::collection::btree_map("[a-d]{0,2}", "[x-z]{0,3}", 0..4),
        ) {
            let mut map = BTreeMap::new();
            let mut tags = Tags::new();
            for (key, value) in &pairs {
                let new = map.insert(key.clone(), value.clone()).is_none();
                prop_assert_eq!(tags.insert(key, value), new);
                prop_assert_eq!(tags.get(key), Some(value.as_str()));
            }
            let same = |tags: &Tags, map: &BTreeMap<String, String>| {
                tags.iter().eq(map.iter().map(|(k, v)| (k.as_str(), v.as_str())))
            };
            prop_assert!(same(&tags, &map), "{tags:?} {map:?}");
            tags.fill_from(&under.iter().collect());
            for (key, value) in under {
                map.entry(key).or_insert(value);
            }
            prop_assert!(same(&tags, &map), "{tags:?} {map:?}");
            prop_assert_eq!(tags.len(), map.len());
            let text = serde_json::to_string(&tags).unwrap();
            prop_assert_eq!(serde_json::from_str::<Tags>(&text).unwrap(), tags);
        }
    }
}
