use rusqlite::Connection;

use super::*;
use crate::hub::store::{self, Access};
use crate::model::{InvalidKey, PluginKey, PluginName};

use super::super::audit::AuditFilter;
use super::super::plugin_keys::{self, Lookup, PluginKeyError};

const NOW: i64 = 1_800_000_000_000;
const DAY: i64 = 24 * 3600 * 1000;

/// A database of an account, and one who may do all in it.
fn hub() -> (tempfile::TempDir, Connection, Caller) {
    let folder = tempfile::tempdir().unwrap();
    let conn = store::open(&store::file_in(folder.path()), Access::Write).unwrap();
    conn.execute(
        "INSERT INTO accounts (id, name, api_key, secret_key, created_ms)
         VALUES (1, 'local', 'A', x'', 0), (2, 'other', 'B', x'', 0)",
        (),
    )
    .unwrap();
    let caller = Caller { account: 1, scopes: Scopes::ALL, actor: "session".to_owned() };
    (folder, conn, caller)
}

fn new(name: &str, scopes: &[Scope]) -> NewKey {
    let scopes = scopes.iter().copied().collect();
    NewKey { name: name.to_owned(), scopes, expires_ms: None }
}

fn good(conn: &Connection, key: &Secret, now: i64) -> Known {
    match verify(conn, key.expose(), now).unwrap() {
        Token::Good(known) => known,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_known_by_its_hash_and_has_its_scopes_alone() {
    let (_folder, mut conn, caller) = hub();
    let key = create(&mut conn, &caller, &new("web-1", &[Scope::Read]), NOW).unwrap();
    let known = good(&conn, &key, NOW);
    assert_eq!((known.account, known.name.as_str()), (1, "web-1"));
    for scope in Scope::ALL {
        assert_eq!(known.scopes.has(scope), scope == Scope::Read, "{scope:?}");
    }
    assert_eq!(verify(&conn, "talaia_00", NOW).unwrap(), Token::Unknown);
    let row = &list(&conn, 1, None, 100, NOW).unwrap()[0];
    assert!(key.expose().ends_with(row.hint.trim_start_matches('…')), "{row:?}");
    let text = serde_json::to_string(row).unwrap();
    assert!(text.contains(r#""scopes":["read"]"#) && !text.contains(key.expose()), "{text}");
    assert!(list(&conn, 2, None, 100, NOW).unwrap().is_empty(), "another account sees nothing");
}

#[test]
fn what_no_key_can_be_is_refused() {
    let (_folder, mut conn, caller) = hub();
    let mut refused = |new: NewKey| create(&mut conn, &caller, &new, NOW).unwrap_err();
    let long = "x".repeat(65);
    for name in ["", "a b", "a/b", "..", "-a", "ä", "a\n", &long] {
        let error = refused(new(name, &[Scope::Read]));
        assert!(matches!(error, KeyError::Name { .. }), "{name}: {error}");
    }
    assert!(matches!(refused(new("a", &[])), KeyError::NoScope));
    let past = NewKey { expires_ms: Some(NOW), ..new("a", &[Scope::Read]) };
    assert!(matches!(refused(past), KeyError::Past));
    assert!("write".parse::<Scope>().is_err());
    create(&mut conn, &caller, &new("a", &[Scope::Read]), NOW).unwrap();
    let again = create(&mut conn, &caller, &new("a", &[Scope::Read]), NOW);
    assert!(matches!(again, Err(KeyError::Exists { .. })));
}

#[test]
fn a_key_expires() {
    let (_folder, mut conn, caller) = hub();
    let wanted = NewKey { expires_ms: Some(NOW + DAY), ..new("a", &[Scope::Ingest]) };
    let key = create(&mut conn, &caller, &wanted, NOW).unwrap();
    good(&conn, &key, NOW + DAY - 1);
    let over = verify(&conn, key.expose(), NOW + DAY).unwrap();
    assert_eq!(over, Token::Expired { name: "a".to_owned(), at_ms: NOW + DAY });
    assert_eq!(list(&conn, 1, None, 100, NOW + DAY).unwrap()[0].state, KeyState::Expired);
    // A rotated one lives as long as the old one did.
    let rotation = Rotation { name: "a".to_owned(), grace_ms: 0, expires_ms: None };
    let rotated = rotate(&mut conn, &caller, &rotation, NOW + 2 * DAY).unwrap();
    assert_eq!(rotated.expires_ms, Some(NOW + 3 * DAY));
}

#[test]
fn a_replaced_key_works_for_its_grace_and_no_longer() {
    let (_folder, mut conn, caller) = hub();
    let old = create(&mut conn, &caller, &new("a", &[Scope::Ingest]), NOW).unwrap();
    let rotation = Rotation { name: "a".to_owned(), grace_ms: 3_600_000, expires_ms: None };
    let rotated = rotate(&mut conn, &caller, &rotation, NOW).unwrap();
    assert_eq!(rotated.old, hash(old.expose()));
    assert_eq!(good(&conn, &rotated.key, NOW).scopes.to_string(), "ingest");
    good(&conn, &old, NOW + 3_599_999);
    let states: Vec<_> =
        list(&conn, 1, None, 100, NOW).unwrap().iter().map(|row| row.state).collect();
    assert_eq!(states, [KeyState::Active, KeyState::Replaced]);
    let gone = verify(&conn, old.expose(), NOW + 3_600_000).unwrap();
    assert_eq!(gone, Token::Revoked { name: "a".to_owned(), at_ms: NOW + 3_600_000 });
    // Revoking the name ends both at once.
    revoke(&mut conn, &caller, "a", LastAdmin::Keep, NOW + 1).unwrap();
    for key in [&old, &rotated.key] {
        let gone = verify(&conn, key.expose(), NOW + 1).unwrap();
        assert!(matches!(gone, Token::Revoked { .. }), "{gone:?}");
    }
    let again = revoke(&mut conn, &caller, "a", LastAdmin::Keep, NOW + 2);
    assert!(matches!(again, Err(KeyError::Missing { .. })));
}

#[test]
fn the_last_key_that_manages_keys_stays_unless_forced() {
    let (_folder, mut conn, caller) = hub();
    create(&mut conn, &caller, &new("a", &[Scope::Admin]), NOW).unwrap();
    let brief = NewKey { expires_ms: Some(NOW + DAY), ..new("b", &[Scope::Admin, Scope::Read]) };
    create(&mut conn, &caller, &brief, NOW).unwrap();
    let later = NOW + DAY;
    let kept = revoke(&mut conn, &caller, "a", LastAdmin::Keep, later);
    assert!(matches!(kept, Err(KeyError::LastAdmin { .. })), "the other has expired: {kept:?}");
    revoke(&mut conn, &caller, "b", LastAdmin::Keep, later).unwrap();
    revoke(&mut conn, &caller, "a", LastAdmin::Revoke, later).unwrap();
}

#[test]
fn the_last_use_is_noted_once_a_minute() {
    let (_folder, mut conn, caller) = hub();
    let key = create(&mut conn, &caller, &new("a", &[Scope::Ingest]), NOW).unwrap();
    let known = good(&conn, &key, NOW);
    assert!(known.stale);
    touch(&conn, known.id, NOW).unwrap();
    assert!(!good(&conn, &key, NOW + 59_999).stale);
    assert!(good(&conn, &key, NOW + 60_000).stale);
    assert!(good(&conn, &key, NOW - 60_000).stale, "a clock that was set back");
    assert_eq!(list(&conn, 1, None, 100, NOW).unwrap()[0].last_used_ms, Some(NOW));
}

#[test]
fn changes_are_written_down_without_keys() {
    let (_folder, mut conn, caller) = hub();
    let key = create(&mut conn, &caller, &new("a", &[Scope::Ingest]), NOW).unwrap();
    let rotation = Rotation { name: "a".to_owned(), grace_ms: 1000, expires_ms: None };
    let rotated = rotate(&mut conn, &caller, &rotation, NOW + 1).unwrap();
    revoke(&mut conn, &caller, "a", LastAdmin::Keep, NOW + 2).unwrap();
    let plugin: PluginName = "disk".parse().unwrap();
    plugin_keys::register(&mut conn, &caller, &plugin, None, NOW + 3).unwrap();
    let filter = AuditFilter { limit: 10, ..AuditFilter::default() };
    let rows = audit::list(&conn, 1, &filter).unwrap();
    let actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["plugin-key.create", "key.revoke", "key.rotate", "key.create"]);
    let text = serde_json::to_string(&rows).unwrap();
    for secret in [&key, &rotated.key] {
        assert!(!text.contains(secret.expose()), "{text}");
    }
    let keys = AuditFilter { action: Some("key".to_owned()), before: Some(3), limit: 1 };
    let page = audit::list(&conn, 1, &keys).unwrap();
    assert_eq!((page.len(), page[0].action.as_str()), (1, "key.rotate"));
    assert!(audit::list(&conn, 2, &filter).unwrap().is_empty());
}

#[test]
fn a_plugin_key_is_a_uuid_in_any_case_without_white_space() {
    let key: PluginKey = "904605aa-E577-4f66-8D2C-3d1f6a2b9c70".parse().unwrap();
    assert_eq!(key.to_string(), "904605aa-e577-4f66-8d2c-3d1f6a2b9c70");
    for text in ["904605aa- E577-4f66-8d2c-3d1f6a2b9c70", " 904605aa-e577-4f66-8d2c-3d1f6a2b9c70"] {
        assert_eq!(text.parse::<PluginKey>(), Err(InvalidKey::WhiteSpace), "{text}");
    }
    for text in ["", "904605aa", "904605aa-e577-4f66-8d2c-3d1f6a2b9c7g"] {
        assert_eq!(text.parse::<PluginKey>(), Err(InvalidKey::NoUuid), "{text}");
    }
}

#[test]
fn a_plugin_is_registered_once_and_its_key_can_end() {
    let (_folder, mut conn, caller) = hub();
    let plugin: PluginName = "disk".parse().unwrap();
    let key = plugin_keys::register(&mut conn, &caller, &plugin, None, NOW).unwrap();
    let known = Lookup::Known { plugin: "disk".to_owned() };
    assert_eq!(plugin_keys::lookup(&conn, 1, key).unwrap(), known);
    assert_eq!(plugin_keys::lookup(&conn, 2, key).unwrap(), Lookup::Unknown);
    let again = plugin_keys::register(&mut conn, &caller, &plugin, None, NOW);
    assert!(matches!(again, Err(PluginKeyError::Registered { key: k, .. }) if k == key));
    let other: PluginName = "cpu".parse().unwrap();
    let taken = plugin_keys::register(&mut conn, &caller, &other, Some(key), NOW);
    assert!(matches!(taken, Err(PluginKeyError::Taken { .. })));
    assert_eq!(plugin_keys::revoke(&mut conn, &caller, key, NOW).unwrap(), "disk");
    let revoked = Lookup::Revoked { plugin: "disk".to_owned() };
    assert_eq!(plugin_keys::lookup(&conn, 1, key).unwrap(), revoked);
    let again = plugin_keys::revoke(&mut conn, &caller, key, NOW);
    assert!(matches!(again, Err(PluginKeyError::Missing { .. })));
    let anew = plugin_keys::register(&mut conn, &caller, &plugin, None, NOW).unwrap();
    assert_ne!(anew, key);
    assert_eq!(plugin_keys::list(&conn, 1, None, 100).unwrap().len(), 2);
}
