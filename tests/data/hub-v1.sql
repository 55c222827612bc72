-- A hub's database as version 1 left it, kept so that it can always be brought up to date.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, api_key TEXT NOT NULL UNIQUE,
    secret_key BLOB NOT NULL, created_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE keys (
    id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts, hash BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL, revoked_ms INTEGER
) STRICT;
CREATE TABLE plugin_keys (
    key TEXT PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts, plugin TEXT NOT NULL,
    created_ms INTEGER NOT NULL, revoked_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE login_links (
    hash BLOB PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts, expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    hash BLOB PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts, expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE agents (
    account_id INTEGER NOT NULL, agent TEXT NOT NULL, host TEXT NOT NULL, version TEXT NOT NULL,
    spool TEXT NOT NULL, received_ms INTEGER NOT NULL, skew_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, agent)
) STRICT, WITHOUT ROWID;
CREATE TABLE streams (
    account_id INTEGER NOT NULL, spool TEXT NOT NULL, output TEXT NOT NULL,
    through INTEGER NOT NULL, received_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, spool, output)
) STRICT, WITHOUT ROWID;
CREATE TABLE monitors (
    id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, host TEXT NOT NULL, plugin TEXT NOT NULL,
    created_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL, last_run INTEGER, last_bad INTEGER,
    reports INTEGER NOT NULL DEFAULT 0, metrics INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account_id, host, plugin)
) STRICT;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, monitor_id INTEGER NOT NULL, name TEXT NOT NULL, tags TEXT NOT NULL,
    kind TEXT NOT NULL, unit TEXT, label TEXT, warn TEXT, crit TEXT, min REAL, max REAL,
    last_ms INTEGER, last_value TEXT,
    UNIQUE (monitor_id, name, tags)
) STRICT;
CREATE TABLE raw (id INTEGER PRIMARY KEY AUTOINCREMENT, points INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, bucket INTEGER NOT NULL,
    from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, points INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX segments_of_bucket ON segments (bucket, from_ms, to_ms);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, monitor_id INTEGER NOT NULL, before INTEGER,
    bad_before INTEGER, nth INTEGER NOT NULL, run BLOB NOT NULL,
    started_ms INTEGER NOT NULL, duration REAL NOT NULL, interval REAL, good INTEGER NOT NULL,
    outcome TEXT, status TEXT NOT NULL, message TEXT, warnings TEXT, produced INTEGER NOT NULL,
    accepted INTEGER NOT NULL, rejected TEXT, skipped INTEGER NOT NULL, leftovers INTEGER NOT NULL,
    cpu REAL NOT NULL, max_rss INTEGER NOT NULL, stdout INTEGER NOT NULL, stderr INTEGER NOT NULL,
    tail TEXT
) STRICT;
CREATE TABLE rejections (
    id INTEGER PRIMARY KEY AUTOINCREMENT, monitor_id INTEGER NOT NULL, run BLOB NOT NULL,
    started_ms INTEGER NOT NULL, code TEXT NOT NULL, path TEXT NOT NULL, line INTEGER NOT NULL,
    col INTEGER NOT NULL, value TEXT NOT NULL, rule TEXT, message TEXT NOT NULL, hint TEXT NOT NULL
) STRICT;
CREATE INDEX rejections_of_monitor ON rejections (monitor_id);
INSERT INTO accounts (id, name, api_key, secret_key, created_ms)
    VALUES (1, 'local', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', x'00', 1000);
INSERT INTO keys (id, account_id, hash, created_ms, revoked_ms)
    VALUES (1, 1, x'01', 1000, 2000), (2, 1, x'02', 1000, NULL), (3, 1, x'03', 1000, NULL);
INSERT INTO monitors (id, account_id, host, plugin, created_ms, received_ms, last_run, reports, metrics)
    VALUES (7, 1, 'web-1', 'disk', 1000, 3000, 1, 1, 1);
INSERT INTO series (id, monitor_id, name, tags, kind, unit, last_ms, last_value)
    VALUES (5, 7, 'used', '{}', 'percent', '%', 3000, '71.2');
INSERT INTO runs (id, monitor_id, nth, run, started_ms, duration, good, status, produced, accepted,
        skipped, leftovers, cpu, max_rss, stdout, stderr)
    VALUES (1, 7, 1, x'0192f0c100007000800000000000000a', 3000, 0.01, 1, 'ok', 1, 1, 0, 0, 0.001, 1, 1, 0);
PRAGMA application_id = 1414285378; PRAGMA user_version = 1;
