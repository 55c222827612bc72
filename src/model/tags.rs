use std::cmp::Ordering;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Tags, sorted by key, each key once. On the wire an object of strings.
///
/// All keys and values stand in one text: a metric with tags costs two allocations, however many
/// tags it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tags {
    /// Key, value, key, value…
    text: String,
    /// Where each key and each value ends in it.
    ends: Vec<[u32; 2]>,
}

impl Tags {
    /// No tags.
    pub const fn new() -> Self {
        Self { text: String::new(), ends: Vec::new() }
    }

    /// No tags, and room for some, with so many bytes of keys and values.
    pub fn with_capacity(tags: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(tags) }
    }

    /// Sets `key` to `value` and says whether the key was new.
    pub fn insert(&mut self, key: &str, value: &str) -> bool {
        // In order is how they mostly come.
        let found = match self.ends.len().checked_sub(1) {
            None => Err(0),
            Some(last) if self.pair(last).0 < key => Err(last + 1),
            Some(_) => self.find(key),
        };
        match found {
            Ok(at) => {
                let [key_end, value_end] = self.ends[at].map(|end| end as usize);
                self.text.replace_range(key_end..value_end, value);
                self.ends[at][1] = (key_end + value.len()) as u32;
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
        (0..self.ends.len()).map(|at| self.pair(at))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes their keys and values have.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before][1] as usize)
    }

    fn pair(&self, at: usize) -> (&str, &str) {
        let [key_end, value_end] = self.ends[at].map(|end| end as usize);
        (&self.text[self.start(at)..key_end], &self.text[key_end..value_end])
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.ends.len());
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
        for ends in &mut self.ends[from..] {
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
