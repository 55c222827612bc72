use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Tags, sorted by key, each key once. On the wire an object of strings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tags(Vec<(Box<str>, Box<str>)>);

impl Tags {
    /// No tags.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// No tags, and room for some.
    pub fn with_capacity(tags: usize) -> Self {
        Self(Vec::with_capacity(tags))
    }

    /// Sets `key` to `value` and says whether the key was new.
    pub fn insert(&mut self, key: &str, value: &str) -> bool {
        match self.0.binary_search_by(|(k, _)| (**k).cmp(key)) {
            Ok(at) => {
                self.0[at].1 = value.into();
                false
            }
            Err(at) => {
                self.0.insert(at, (key.into(), value.into()));
                true
            }
        }
    }

    /// Adds the tags of `under` whose keys are not here yet.
    pub fn fill_from(&mut self, under: &Tags) {
        for (key, value) in under.iter() {
            if self.get(key).is_none() {
                self.insert(key, value);
            }
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok().map(|at| &*self.0[at].1)
    }

    /// Key and value, in the order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (&**k, &**v))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        let mut map = s.serialize_map(Some(self.0.len()))?;
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
