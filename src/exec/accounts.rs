//! Users and groups, as `/etc/passwd` and `/etc/group` have them. Accounts that come over a network
//! (LDAP) are not seen: asking for them takes the C library, which reads its own configuration and
//! may load code.

use std::path::PathBuf;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its first group.
    pub gid: u32,
    /// Its home.
    pub home: PathBuf,
}

/// The user of this name or number.
pub fn user(wanted: &str) -> Option<Account> {
    user_in(&read("/etc/passwd"), wanted)
}

/// The user of this number.
pub fn user_of(uid: u32) -> Option<Account> {
    let uid = uid.to_string();
    user_in(&read("/etc/passwd"), &uid).filter(|account| account.uid.to_string() == uid)
}

/// The user that this process runs as, if the system's file knows it.
pub fn own() -> Option<Account> {
    user_of(rustix::process::geteuid().as_raw())
}

/// The number of the group of this name or number; a number needs no entry.
pub fn group(wanted: &str) -> Option<u32> {
    group_in(&read("/etc/group"), wanted)
}

/// The groups that have a user of this name as a member, besides its first one; sorted.
pub fn groups_of(name: &str) -> Vec<u32> {
    groups_in(&read("/etc/group"), name)
}

fn read(path: &str) -> String {
    // A file that is not there names nobody.
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn user_in(passwd: &str, wanted: &str) -> Option<Account> {
    let account = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(Account { name: (*name).to_owned(), uid, gid, home: PathBuf::from(home) })
    };
    let all = || passwd.lines().filter_map(account);
    // A name that is a number is a name first, as for `chown`.
    all().find(|account| account.name == wanted).or_else(|| {
        let uid: u32 = wanted.parse().ok()?;
        all().find(|account| account.uid == uid)
    })
}

fn group_in(groups: &str, wanted: &str) -> Option<u32> {
    lines(groups)
        .find(|(name, ..)| *name == wanted)
        .map(|(_, gid, _)| gid)
        .or_else(|| wanted.parse().ok())
}

fn groups_in(groups: &str, name: &str) -> Vec<u32> {
    let mut found: Vec<u32> = lines(groups)
        .filter(|(.., members)| members.split(',').any(|member| member.trim() == name))
        .map(|(_, gid, _)| gid)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Name, number and members of each group.
fn lines(groups: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, gid.parse().ok()?, fields.next().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# nothing\nbroken\nana:x:1000:100::/home/ana:/bin/sh\n7:x:70:70::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\ndisk:x:6:ana,bob\nadm:x:4:bob, ana\nusers:x:100:\n";

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let ana = user_in(PASSWD, "ana").unwrap();
        assert_eq!((ana.uid, ana.gid, ana.home), (1000, 100, PathBuf::from("/home/ana")));
        assert_eq!(user_in(PASSWD, "1000").unwrap().name, "ana");
        assert_eq!(user_in(PASSWD, "7").unwrap().uid, 70);
        assert!(user_in(PASSWD, "broken").is_none() && user_in(PASSWD, "nobody").is_none());
    }

    #[test]
    fn groups_have_numbers_and_members() {
        assert_eq!(group_in(GROUP, "disk"), Some(6));
        assert_eq!(group_in(GROUP, "77"), Some(77));
        assert_eq!(group_in(GROUP, "wheel"), None);
        assert_eq!(groups_in(GROUP, "ana"), [4, 6]);
        assert!(groups_in(GROUP, "an").is_empty());
    }
}
