use rusqlite::Connection;

use super::read::Listing;
use super::*;
use crate::hub::caller::{Caller, Scopes};
use crate::hub::store::{self, Access};
use crate::model::Timestamp;
use crate::package::{
    Contents, Envelope, FileMode, Index, ListedVersion, PackageFile, Rotation, SigningKey, Trust,
    inspect, pack, sha256, unpack,
};

const NOW: i64 = 1_800_000_000_000;

/// A database of two accounts.
fn hub() -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let conn = store::open(&store::file_in(folder.path()), Access::Write).unwrap();
    conn.execute(
        "INSERT INTO accounts (id, name, api_key, secret_key, created_ms)
         VALUES (1, 'local', 'A', x'', 0), (2, 'other', 'B', x'', 0)",
        (),
    )
    .unwrap();
    (folder, conn)
}

fn by(account: i64) -> Caller {
    Caller { account, scopes: Scopes::ALL, actor: "session".to_owned() }
}

fn name() -> PackageName {
    "a-b".parse().unwrap()
}

fn number(text: &str) -> Version {
    text.parse().unwrap()
}

/// Seen by somebody who does not say which archive it was.
fn saw<'a>((name, version): (&'a PackageName, &'a Version)) -> Seen<'a> {
    Seen { name, version, sha256: None }
}

fn archive_of(version: &str, program: &str) -> Vec<u8> {
    archive_saying("d", version, program)
}

fn archive_saying(description: &str, version: &str, program: &str) -> Vec<u8> {
    let manifest = format!(
        "name = 'a-b'\nversion = '{version}'\ndescription = '{description}'\nauthors = ['x']\nlicense = 'MIT'\n\
         category = 'other'\n[commands.run]\ncommand = ['run']\nmetrics.n.type = 'integer'\n"
    );
    let file = |path: &str, mode, text: &str| PackageFile {
        path: path.to_owned(),
        mode,
        bytes: text.as_bytes().to_vec(),
    };
    let contents = Contents::new(vec![
        file("talaia-plugin.toml", FileMode::Plain, &manifest),
        file("run", FileMode::Executable, program),
    ]);
    pack(&name(), &contents.unwrap()).unwrap()
}

fn looked(version: &str, program: &str) -> Upload {
    seen(version, archive_of(version, program))
}

fn seen(version: &str, archive: Vec<u8>) -> Upload {
    let (top, contents) = unpack(&archive).unwrap();
    Upload {
        name: name(),
        version: number(version),
        sha256: sha256(&archive),
        inspection: inspect(&contents, Some(&top)),
        archive,
    }
}

fn submitted(conn: &mut Connection, version: &str) {
    upload(conn, &by(1), &looked(version, "#!/bin/sh\n"), NOW).unwrap();
    submit(conn, &by(1), (&name(), &number(version)), NOW).unwrap();
}

fn state(conn: &Connection, wanted: &str) -> State {
    let who = Listing { account: 1, reviewer: true };
    version(conn, who, &name(), &number(wanted)).unwrap().at.state
}

fn served(conn: &Connection, trust: Trust) -> (Index, Trust) {
    let text = index(conn).unwrap().unwrap();
    Index::open(&Index::envelope(text.as_bytes()).unwrap(), trust).unwrap()
}

#[test]
fn a_name_belongs_to_the_account_that_registered_it() {
    let (_folder, mut conn) = hub();
    let (key, fresh) = register(&mut conn, &by(1), &name(), ("d", "other"), NOW).unwrap();
    assert!(fresh);
    assert_eq!(register(&mut conn, &by(1), &name(), ("", "other"), NOW).unwrap(), (key, false));
    let taken = register(&mut conn, &by(2), &name(), ("", "other"), NOW);
    assert!(matches!(taken, Err(RegistryError::Taken(_))), "{taken:?}");
    let taken = upload(&mut conn, &by(2), &looked("1.0.0", "#!/bin/sh\n"), NOW);
    assert!(matches!(taken, Err(RegistryError::Taken(_))), "{taken:?}");
    // The key is a plugin's key like any other.
    let known = crate::hub::plugin_keys::lookup(&conn, 1, key).unwrap();
    assert!(matches!(known, crate::hub::plugin_keys::Lookup::Known { .. }), "{known:?}");
}

#[test]
fn what_is_not_approved_is_seen_by_its_account_and_reviewers_alone() {
    let (_folder, mut conn) = hub();
    submitted(&mut conn, "0.1.0");
    let sees = |conn: &Connection, who: Listing| {
        (
            list(conn, who, None, None, 10).unwrap().len(),
            list(conn, who, Some(State::Submitted), None, 10).unwrap().len(),
            version(conn, who, &name(), &number("0.1.0")).is_ok(),
            archive(conn, who, (&name(), &number("0.1.0")), "").is_ok(),
            show(conn, who, &name()).is_ok(),
        )
    };
    let (own, reviewer, stranger) = (
        Listing { account: 1, reviewer: false },
        Listing { account: 2, reviewer: true },
        Listing { account: 2, reviewer: false },
    );
    assert_eq!(sees(&conn, own), (1, 1, true, true, true));
    assert_eq!(sees(&conn, reviewer), (1, 1, true, true, true));
    assert_eq!(sees(&conn, stranger), (0, 0, false, false, false));
    assert!(given_out(&conn, "a-b-0.1.0.zip", "").unwrap().is_none());
    let key = SigningKey::generate().unwrap();
    let one = number("0.1.0");
    trial(&mut conn, &by(1), saw((&name(), &one)), "{}", NOW).unwrap();
    approve(&mut conn, &by(1), saw((&name(), &one)), &Signed::ByHub(&key), NOW).unwrap();
    assert_eq!(sees(&conn, stranger), (1, 0, true, true, true));
    let who = |who| {
        let row = version(&conn, who, &name(), &number("0.1.0")).unwrap();
        (row.author, row.reviewer, row.trial.is_some())
    };
    let session = || "session".to_owned();
    assert_eq!(who(own), (session(), Some(session()), true));
    assert_eq!(who(stranger), (String::new(), None, false));
    for file in ["a-b-0.1.0.zip", "a-b-0.1.zip"] {
        assert!(given_out(&conn, file, "").unwrap().is_some(), "{file}");
    }
    // A number is filled up; what is before a release is called by its full name.
    submitted(&mut conn, "1.0.0-rc.0");
    let rc = number("1.0.0-rc.0");
    approve(&mut conn, &by(1), saw((&name(), &rc)), &Signed::ByHub(&key), NOW).unwrap();
    assert!(given_out(&conn, "a-b-1.0.0-rc.0.zip", "").unwrap().is_some());
    assert!(given_out(&conn, "a-b-1.0.0-rc.zip", "").unwrap().is_none());
    for file in ["a-b-0.1.0", "a-b.zip", "a-0.1.0.zip", "a-b-0.zip", "%.zip"] {
        assert!(given_out(&conn, file, "").unwrap().is_none(), "{file}");
    }
    let key = show(&conn, stranger, &name()).unwrap().key;
    assert!(key.is_none(), "another account's plugin key");
}

#[test]
fn a_version_lives_through_its_states_and_no_other_way() {
    let (_folder, mut conn) = hub();
    let key = SigningKey::generate().unwrap();
    let hub_key = Signed::ByHub(&key);
    let (package, one) = (name(), number("0.1.0"));
    let which = (&package, &one);
    upload(&mut conn, &by(1), &looked("0.1.0", "#!/bin/sh\n"), NOW).unwrap();
    // A draft is replaced, and neither taken nor approved.
    upload(&mut conn, &by(1), &looked("0.1.0", "#!/bin/sh\necho\n"), NOW).unwrap();
    assert!(matches!(take(&mut conn, &by(1), which, NOW), Err(RegistryError::State { .. })));
    let early = approve(&mut conn, &by(1), saw(which), &hub_key, NOW);
    assert!(matches!(early, Err(RegistryError::State { .. })), "{early:?}");
    submit(&mut conn, &by(1), which, NOW).unwrap();
    let twice = submit(&mut conn, &by(1), which, NOW);
    assert!(matches!(twice, Err(RegistryError::State { .. })), "{twice:?}");
    let late = upload(&mut conn, &by(1), &looked("0.1.0", "#!/bin/sh\n"), NOW);
    assert!(late.unwrap_err().to_string().contains("another version"));
    take(&mut conn, &by(1), which, NOW).unwrap();
    assert!(matches!(reject(&mut conn, &by(1), saw(which), " ", NOW), Err(RegistryError::Reason)));
    reject(&mut conn, &by(1), saw(which), "no units", NOW).unwrap();
    assert_eq!(state(&conn, "0.1.0"), State::Rejected);
    // Mended under the same number.
    submitted(&mut conn, "0.1.0");
    approve(&mut conn, &by(1), saw(which), &hub_key, NOW).unwrap();
    let again = upload(&mut conn, &by(1), &looked("0.1.0", "#!/bin/sh\n"), NOW);
    assert!(matches!(again, Err(RegistryError::State { .. })), "{again:?}");
    withdraw(&mut conn, (&by(1), false), which, Some(&hub_key), NOW).unwrap();
    assert_eq!(state(&conn, "0.1.0"), State::Withdrawn);
    assert!(given_out(&conn, "a-b-0.1.0.zip", "").unwrap().is_none());
    let (index, trust) = served(&conn, Trust { key: key.public(), serial: 0 });
    assert_eq!((index.packages.len(), trust.serial), (0, 2));
}

#[test]
fn nobody_decides_on_an_archive_that_they_did_not_see() {
    let (_folder, mut conn) = hub();
    let key = SigningKey::generate().unwrap();
    let (package, one) = (name(), number("0.1.0"));
    let old = looked("0.1.0", "#!/bin/sh\n").sha256;
    submitted(&mut conn, "0.1.0");
    let seen = Seen { sha256: Some(&old), ..saw((&package, &one)) };
    trial(&mut conn, &by(1), seen, "{}", NOW).unwrap();
    reject(&mut conn, &by(1), seen, "no units", NOW).unwrap();
    let late = trial(&mut conn, &by(1), seen, "{}", NOW);
    assert!(matches!(late, Err(RegistryError::State { .. })), "{late:?}");
    let new = looked("0.1.0", "#!/bin/sh\nrm -r /\n");
    upload(&mut conn, &by(1), &new, NOW).unwrap();
    submit(&mut conn, &by(1), (&package, &one), NOW).unwrap();
    for done in [
        approve(&mut conn, &by(1), seen, &Signed::ByHub(&key), NOW),
        reject(&mut conn, &by(1), seen, "no units", NOW),
        trial(&mut conn, &by(1), seen, "{}", NOW),
    ] {
        assert!(matches!(done, Err(RegistryError::OtherArchive { .. })), "{done:?}");
    }
    let seen = Seen { sha256: Some(&new.sha256), ..seen };
    approve(&mut conn, &by(1), seen, &Signed::ByHub(&key), NOW).unwrap();
}

#[test]
fn what_has_errors_is_kept_and_not_submitted() {
    let (_folder, mut conn) = hub();
    upload(&mut conn, &by(1), &looked("0.1.0", "no shebang\n"), NOW).unwrap();
    let refused = submit(&mut conn, &by(1), (&name(), &number("0.1.0")), NOW).unwrap_err();
    assert!(refused.to_string().contains("has no `#!` line"), "{refused}");
}

#[test]
fn the_index_is_signed_and_its_serial_rises() {
    let (_folder, mut conn) = hub();
    let key = SigningKey::generate().unwrap();
    let mut trust = Trust { key: key.public(), serial: 0 };
    for (n, version) in (1..).zip(["0.1.0", "0.2.0", "0.10.0"]) {
        submitted(&mut conn, version);
        let which = (&name(), &number(version));
        approve(&mut conn, &by(1), saw(which), &Signed::ByHub(&key), NOW).unwrap();
        let (index, now) = served(&conn, trust);
        trust = now;
        assert_eq!(trust.serial, n);
        let offer = index.find(&name(), None, trust.key).unwrap();
        assert_eq!(offer.approval.version, number(version));
        let file = given_out(&conn, &format!("a-b-{version}.zip"), "").unwrap().unwrap();
        offer.check(&file.body.unwrap()).unwrap();
    }
    // A key that is not the registry's signs nothing.
    submitted(&mut conn, "0.11.0");
    let other = SigningKey::generate().unwrap();
    let which = (&name(), &number("0.11.0"));
    let refused = approve(&mut conn, &by(1), saw(which), &Signed::ByHub(&other), NOW);
    assert!(matches!(refused, Err(RegistryError::OtherKey(_))), "{refused:?}");
    assert_eq!(state(&conn, "0.11.0"), State::Submitted, "nothing of it stays");
    // A new key is introduced by the old one.
    rotate(&mut conn, &by(1), Rotating::ByHub { old: &key, new: &other }, NOW).unwrap();
    let (index, now) = served(&conn, trust);
    assert_eq!((now.key, now.serial), (other.public(), 4));
    index.find(&name(), Some(&number("0.1.0")), now.key).unwrap();
    approve(&mut conn, &by(1), saw(which), &Signed::ByHub(&other), NOW).unwrap();
}

#[test]
fn somebody_else_may_keep_the_key() {
    let (_folder, mut conn) = hub();
    let key = SigningKey::generate().unwrap();
    submitted(&mut conn, "0.1.0");
    let (package, one) = (name(), number("0.1.0"));
    let which = (&package, &one);
    let sign = |conn: &Connection, key: &SigningKey| {
        let documents = approval(conn, which, NOW).unwrap();
        let statement = Envelope::seal(&documents.approval.unwrap(), key).unwrap();
        let mut index = documents.index;
        let listed = ListedVersion { version: one.clone(), statement: statement.clone() };
        index.insert(&package, ("d", "other"), listed);
        Signed::Offline { statement: Some(statement), index: index.seal(key).unwrap() }
    };
    // The statement of one and the index of another.
    let other = SigningKey::generate().unwrap();
    let Signed::Offline { statement, .. } = sign(&conn, &key) else { unreachable!() };
    let Signed::Offline { index: foreign, .. } = sign(&conn, &other) else { unreachable!() };
    let mixed = Signed::Offline { statement, index: foreign };
    let refused = approve(&mut conn, &by(1), saw(which), &mixed, NOW);
    assert!(matches!(refused, Err(RegistryError::NotThat(_))), "{refused:?}");
    // An index that leaves it out.
    let bare = approval(&conn, which, NOW).unwrap();
    let statement = Envelope::seal(&bare.approval.unwrap(), &key).unwrap();
    let without =
        Signed::Offline { statement: Some(statement), index: bare.index.seal(&key).unwrap() };
    let refused = approve(&mut conn, &by(1), saw(which), &without, NOW);
    assert!(matches!(refused, Err(RegistryError::NotThat(_))), "{refused:?}");

    let signed = sign(&conn, &key);
    approve(&mut conn, &by(1), saw(which), &signed, NOW).unwrap();
    let (index, trust) = served(&conn, Trust { key: key.public(), serial: 0 });
    index.find(&package, None, trust.key).unwrap();
    assert!(registry(&conn).unwrap().offline);
    // From then on the hub signs nothing itself.
    submitted(&mut conn, "0.2.0");
    let two = number("0.2.0");
    let by_hub = approve(&mut conn, &by(1), saw((&package, &two)), &Signed::ByHub(&other), NOW);
    assert!(matches!(by_hub, Err(RegistryError::Offline(_))), "{by_hub:?}");
    // What was signed for an older index is stale.
    let stale = withdraw(&mut conn, (&by(1), true), which, Some(&signed), NOW);
    assert!(matches!(stale, Err(RegistryError::Stale)), "{stale:?}");
    let documents = withdrawal(&conn, which, NOW).unwrap();
    let index = documents.index.seal(&key).unwrap();
    let signed = Signed::Offline { statement: None, index };
    withdraw(&mut conn, (&by(1), true), which, Some(&signed), NOW).unwrap();
    assert_eq!(served(&conn, trust).0.packages.len(), 0);
}

#[test]
fn a_diff_is_against_the_newest_approved_version_before() {
    let (_folder, mut conn) = hub();
    let key = SigningKey::generate().unwrap();
    for version in ["0.1.0", "0.2.0", "0.4.0"] {
        submitted(&mut conn, version);
        let which = (&name(), &number(version));
        approve(&mut conn, &by(1), saw(which), &Signed::ByHub(&key), NOW).unwrap();
    }
    submitted(&mut conn, "0.3.0");
    let who = Listing { account: 1, reviewer: false };
    let before = |wanted: &str, against: Option<&Version>| {
        let (_, old) = archives(&conn, who, (&name(), &number(wanted)), against).unwrap();
        old.map(|(version, _)| version.to_string())
    };
    assert_eq!(before("0.3.0", None).as_deref(), Some("0.2.0"));
    assert_eq!(before("0.3.0", Some(&number("0.4.0"))).as_deref(), Some("0.4.0"));
    assert_eq!(before("0.1.0", None), None);
}

#[test]
fn the_newest_approved_version_speaks_for_its_package() {
    let (_folder, mut conn) = hub();
    let key = SigningKey::generate().unwrap();
    let by_hub = Signed::ByHub(&key);
    let trust = Trust { key: key.public(), serial: 0 };
    let says = |conn: &Connection| {
        let who = Listing { account: 1, reviewer: false };
        let shown = show(conn, who, &name()).unwrap().description;
        let listed = served(conn, trust).0.packages.pop().map(|listed| listed.description);
        assert!(listed.is_none_or(|listed| listed == shown), "{shown}");
        shown
    };
    let hand_in = |conn: &mut Connection, version: &str| {
        let archive = archive_saying(&format!("of {version}"), version, "#!/bin/sh\n");
        upload(conn, &by(1), &seen(version, archive), NOW).unwrap();
        submit(conn, &by(1), (&name(), &number(version)), NOW).unwrap();
    };
    for (version, speaks) in
        [("0.2.0", "0.2.0"), ("0.1.0", "0.2.0"), ("0.3.0-rc.1", "0.2.0"), ("0.10.0", "0.10.0")]
    {
        hand_in(&mut conn, version);
        let of = number(version);
        let documents = approval(&conn, (&name(), &of), NOW).unwrap();
        if let Some(listed) = documents.index.packages.first() {
            assert_eq!(listed.description, format!("of {speaks}"), "to be signed");
        }
        approve(&mut conn, &by(1), saw((&name(), &of)), &by_hub, NOW).unwrap();
        assert_eq!(says(&conn), format!("of {speaks}"));
    }
    hand_in(&mut conn, "0.11.0");
    assert_eq!(says(&conn), "of 0.10.0", "a draft says nothing");
    let newest = number("0.10.0");
    let documents = withdrawal(&conn, (&name(), &newest), NOW).unwrap();
    assert_eq!(documents.index.packages[0].description, "of 0.2.0", "to be signed");
    withdraw(&mut conn, (&by(1), false), (&name(), &newest), Some(&by_hub), NOW).unwrap();
    assert_eq!(says(&conn), "of 0.2.0");
}

#[test]
fn of_what_was_never_approved_its_number_alone_is_kept() {
    let (_folder, mut conn) = hub();
    let who = Listing { account: 1, reviewer: false };
    let (package, one) = (name(), number("0.1.0"));
    let which = (&package, &one);
    submitted(&mut conn, "0.1.0");
    reject(&mut conn, &by(1), saw(which), "no units", NOW).unwrap();
    withdraw(&mut conn, (&by(1), false), which, None, NOW).unwrap();
    assert!(matches!(archive(&conn, who, which, ""), Err(RegistryError::Gone { .. })));
    let row = version(&conn, who, &package, &one).unwrap();
    assert_eq!((row.at.state, row.report.get()), (State::Withdrawn, NO_REPORT));
    let again = upload(&mut conn, &by(1), &looked("0.1.0", "#!/bin/sh\n"), NOW);
    assert!(matches!(again, Err(RegistryError::State { .. })), "{again:?}");
    let mut found = Vec::new();
    check(&conn, |finding| found.push(finding)).unwrap();
    assert_eq!(found, [""; 0]);
}

#[test]
fn an_account_and_the_hub_keep_no_more_than_they_may() {
    let (_folder, mut conn) = hub();
    submitted(&mut conn, "0.1.0");
    let holds = |conn: &Connection, bytes: i64, account: i64| {
        conn.execute("UPDATE package_versions SET size = ?1", [bytes]).unwrap();
        conn.execute("UPDATE packages SET account_id = ?1", [account]).unwrap();
    };
    let mut other = looked("0.2.0", "#!/bin/sh\n");
    holds(&conn, OWN_ARCHIVES, 1);
    let full = upload(&mut conn, &by(1), &other, NOW);
    assert!(matches!(full, Err(RegistryError::OwnFull)), "{full:?}");
    assert!(full.unwrap_err().to_string().contains("withdraw drafts"));
    // Another account still has room, as long as the hub has.
    holds(&conn, OWN_ARCHIVES, 2);
    other.name = "b".parse().unwrap();
    upload(&mut conn, &by(1), &other, NOW).unwrap();
    conn.execute("UPDATE package_versions SET size = ?1 WHERE id = 1", [ARCHIVES]).unwrap();
    let full = upload(&mut conn, &by(1), &other, NOW);
    assert!(matches!(full, Err(RegistryError::Full)), "{full:?}");
    holds(&conn, 1, 1);
    let taken = number("0.2.0");
    withdraw(&mut conn, (&by(1), false), (&other.name, &taken), None, NOW).unwrap();
    // What waits counts; what was withdrawn or approved does not.
    for n in 1..=VERSIONS {
        let version = number(&format!("1.{n}.0"));
        let one = Upload {
            name: other.name.clone(),
            version: version.clone(),
            ..looked("1.0.0", "#!/bin/sh\n")
        };
        upload(&mut conn, &by(1), &one, NOW).unwrap();
    }
    let one = Upload { name: other.name.clone(), ..looked("2.0.0", "#!/bin/sh\n") };
    let full = upload(&mut conn, &by(1), &one, NOW);
    assert!(matches!(full, Err(RegistryError::TooManyVersions(_))), "{full:?}");
    withdraw(&mut conn, (&by(1), false), (&one.name, &number("1.1.0")), None, NOW).unwrap();
    upload(&mut conn, &by(1), &one, NOW).unwrap();
}

#[test]
fn a_key_that_is_kept_elsewhere_is_changed_there() {
    let (_folder, mut conn) = hub();
    let [old, new, stranger] = [(); 3].map(|()| SigningKey::generate().unwrap());
    let (package, one) = (name(), number("0.1.0"));
    let which = (&package, &one);
    let introduce = |new: &SigningKey, old: &SigningKey| {
        let rotation = Rotation { new_key: new.public(), at: Timestamp::EPOCH };
        Envelope::seal(&rotation, old).unwrap()
    };
    // What is to be signed: the index as it is served, one further, with the rotation.
    let further = |conn: &Connection, rotation: &Envelope, key: &SigningKey, more: u64| {
        let (mut index, _) = served(conn, Trust { key: old.public(), serial: 0 });
        index.serial += more;
        index.rotations.push(rotation.clone());
        index.seal(key).unwrap()
    };
    let offline = |rotation: &Envelope, index: Envelope| Rotating::Offline {
        rotation: rotation.clone(),
        index,
    };
    let rotation = introduce(&new, &old);
    submitted(&mut conn, "0.1.0");
    let documents = approval(&conn, which, NOW).unwrap();
    let statement = Envelope::seal(&documents.approval.unwrap(), &old).unwrap();
    let mut index = documents.index;
    let none = rotate(&mut conn, &by(1), offline(&rotation, index.seal(&new).unwrap()), NOW);
    assert!(matches!(none, Err(RegistryError::NoKey)), "{none:?}");
    let listed = ListedVersion { version: one.clone(), statement: statement.clone() };
    index.insert(&package, ("d", "other"), listed);
    let signed = Signed::Offline { statement: Some(statement), index: index.seal(&old).unwrap() };
    approve(&mut conn, &by(1), saw(which), &signed, NOW).unwrap();

    let by_hub = Rotating::ByHub { old: &old, new: &new };
    let refused = rotate(&mut conn, &by(1), by_hub, NOW);
    assert!(matches!(refused, Err(RegistryError::Offline(_))), "{refused:?}");
    let forged = introduce(&new, &stranger);
    let signed = offline(&forged, further(&conn, &forged, &new, 1));
    let refused = rotate(&mut conn, &by(1), signed, NOW);
    assert!(matches!(refused, Err(RegistryError::OtherKey(_))), "{refused:?}");
    let signed = offline(&rotation, further(&conn, &rotation, &stranger, 1));
    let refused = rotate(&mut conn, &by(1), signed, NOW);
    assert!(matches!(refused, Err(RegistryError::NotThat(_))), "{refused:?}");
    let same = introduce(&old, &old);
    let signed = offline(&same, further(&conn, &same, &old, 1));
    let refused = rotate(&mut conn, &by(1), signed, NOW);
    assert!(matches!(refused, Err(RegistryError::NotThat(_))), "{refused:?}");
    let signed = offline(&rotation, further(&conn, &rotation, &new, 0));
    let refused = rotate(&mut conn, &by(1), signed, NOW);
    assert!(matches!(refused, Err(RegistryError::Stale)), "{refused:?}");
    let emptied = {
        let (index, _) = served(&conn, Trust { key: old.public(), serial: 0 });
        Index::new(index.serial + 1, index.issued, vec![rotation.clone()], Vec::new())
    };
    let refused = rotate(&mut conn, &by(1), offline(&rotation, emptied.seal(&new).unwrap()), NOW);
    assert!(matches!(refused, Err(RegistryError::NotThat(_))), "{refused:?}");

    let signed = offline(&rotation, further(&conn, &rotation, &new, 1));
    rotate(&mut conn, &by(1), signed, NOW).unwrap();
    let (index, trust) = served(&conn, Trust { key: old.public(), serial: 1 });
    assert_eq!((trust.key, trust.serial), (new.public(), 2));
    index.find(&package, Some(&one), trust.key).unwrap();
    assert!(registry(&conn).unwrap().offline);
}
