//! What a hub answers and writes down.

use super::Shown::How;
use super::{Kind, Page, pair, pair_with};
use crate::model::{AuditAction, ProblemCode};

pub(super) fn pages() -> impl Iterator<Item = Page> {
    let problems = ProblemCode::ALL.iter().map(|code| problem(*code));
    problems.chain(AuditAction::ALL.iter().map(|action| audit(*action)))
}

fn problem(code: ProblemCode) -> Page {
    use ProblemCode as P;
    let (meaning, shown, fix, see): (_, _, _, &[&str]) = match code {
        P::Unauthorized => (
            "No key came with the request (401). All but `/healthz` and the description of the API needs one, or a session.",
            pair(
                "GET /api/v1/plugins",
                "GET /api/v1/plugins
Authorization: Bearer KEY",
            ),
            "Send `Authorization: Bearer KEY`. The local hub's key is in its credentials.json; `talaia keys create` makes others.",
            &["key-unknown", "signature"],
        ),
        P::KeyUnknown => (
            "This hub never gave the key (401). It is another hub's, cut short, or of an account that is no more.",
            pair(
                "GET /api/v1/plugins
Authorization: Bearer KEY_OF_ANOTHER_HUB",
                "GET /api/v1/plugins
Authorization: Bearer KEY",
            ),
            "`talaia keys create NAME` on this hub prints one.",
            &["key-revoked", "hold"],
        ),
        P::KeyRevoked => (
            "Somebody ended the key (401).",
            pair_with(
                r#"POST /api/v1/keys {"name": "web-1", "scopes": ["read"]}
DELETE /api/v1/keys/web-1"#,
                "GET /api/v1/plugins
Authorization: Bearer KEY_OF_WEB_1",
                "GET /api/v1/plugins
Authorization: Bearer KEY",
            ),
            "`talaia keys create NAME` makes another; `talaia keys audit` says who ended it.",
            &["key.revoke"],
        ),
        P::KeyExpired => (
            "The key was made for a time, which is over (401).",
            pair_with(
                r#"POST /api/v1/keys {"name": "web-1", "scopes": ["read"], "expires": "TOMORROW"}
(two days go by)"#,
                "GET /api/v1/plugins
Authorization: Bearer KEY_OF_WEB_1",
                "GET /api/v1/plugins
Authorization: Bearer KEY",
            ),
            "`talaia keys rotate NAME` makes another in its place.",
            &["key.rotate"],
        ),
        P::Signature => (
            "A signed request does not hold (401): another secret key, a clock that is far off, a body or address that changed on the way, or one that came before.",
            pair(
                "GET /api/v1/plugins
Authorization: HMAC-SHA256 key=API_KEY,time=YESTERDAY,nonce=NONCE,body=BODY,signature=SIGNATURE",
                "GET /api/v1/plugins
Authorization: HMAC-SHA256 key=API_KEY,time=NOW,nonce=NONCE,body=BODY,signature=SIGNATURE",
            ),
            "Set the clock, and sign what is sent; docs/hub-api.md has the recipe. A Bearer key is simpler.",
            &["unauthorized"],
        ),
        P::AccountDisabled => (
            "Whoever runs the hub disabled the account (403). All that it has is kept.",
            How("$ talaia hub account disable lab"),
            "`talaia hub account enable NAME` on the hub lets it in again.",
            &["account.disable"],
        ),
        P::Scope => (
            "The key is good, and may not do this (403). No scope implies another: a key that leaks from one place is of use in that place only.",
            pair_with(
                r#"POST /api/v1/keys {"name": "web-1", "scopes": ["read"]}"#,
                r#"POST /api/v1/monitors {"name": "door"}
Authorization: Bearer KEY_OF_WEB_1"#,
                "GET /api/v1/plugins
Authorization: Bearer KEY_OF_WEB_1",
            ),
            "`talaia keys create NAME --scope SCOPE`; the detail names the scope.",
            &["key.create"],
        ),
        P::Reviewer => (
            "Only reviewers of this registry may do that (403).",
            How("$ talaia plugin approve web-check 0.1.0 --key-file another-account.json"),
            "A key with the scope `review` of the hub's own account.",
            &["scope"],
        ),
        P::Host => (
            "The request names no host, or calls the hub by a name that is not its own (400 or 421). This keeps foreign pages from reaching a hub through a browser.",
            pair(
                "GET /api/v1/plugins
Host: elsewhere.example",
                "GET /api/v1/plugins
Host: localhost",
            ),
            "Call it by its address, or add the name to `[hub] hosts`.",
            &["cross-site"],
        ),
        P::CrossSite => (
            "A form came from another site's page (403).",
            pair(
                "POST /api/v1/monitors {\"name\": \"door\"}\nCookie: SESSION\nOrigin: https://elsewhere.example",
                "POST /api/v1/monitors {\"name\": \"door\"}\nCookie: SESSION\nOrigin: THE_HUB",
            ),
            "Use the hub's own pages; programs send a key.",
            &["host"],
        ),
        P::Method => (
            "The path is there, and not with this method (405).",
            pair("DELETE /api/v1/plugins", "GET /api/v1/plugins"),
            "docs/hub-api.md and `schemas/openapi.v1.json` have every path with its methods.",
            &["not-found"],
        ),
        P::NotFound => (
            "There is no such path, or nothing with this id (404).",
            pair("GET /api/v1/plugin", "GET /api/v1/plugins"),
            "Is it a path of `/api/v1`? docs/hub-api.md lists them.",
            &["method"],
        ),
        P::Parameter => (
            "A parameter of the address is missing, comes twice, or cannot be read (400).",
            pair("GET /api/v1/plugins?limit=0", "GET /api/v1/plugins?limit=10"),
            "The detail names it and what it takes.",
            &[],
        ),
        P::Protocol => (
            "The sender speaks another version of the protocol (400).",
            pair("POST /api/v2/ingest @batch.json", "POST /api/v1/ingest @batch.json"),
            "Bring agent and hub to the same version.",
            &["shape"],
        ),
        P::MediaType => (
            "The body is of a kind that this path does not read (415).",
            pair(
                r#"POST /api/v1/monitors {"name": "door"}
Content-Type: text/plain"#,
                r#"POST /api/v1/monitors {"name": "door"}
Content-Type: application/json"#,
            ),
            "Send `Content-Type: application/json`, or what the detail names.",
            &["encoding"],
        ),
        P::JsonSyntax => (
            "The body is not JSON (400). `place` says where.",
            pair(
                "POST /api/v1/monitors {'name': 'door'}",
                r#"POST /api/v1/monitors {"name": "door"}"#,
            ),
            "Send what a JSON library writes.",
            &["shape"],
        ),
        P::Encoding => (
            "The body says that it is compressed, and cannot be unpacked (400).",
            pair(
                "POST /api/v1/ingest @batch.json
Content-Encoding: gzip",
                "POST /api/v1/ingest @batch.json.gz
Content-Encoding: gzip",
            ),
            "`Content-Encoding` is `zstd`, `gzip`, or left out.",
            &["media-type"],
        ),
        P::Shape => (
            "The body is JSON, and not of the shape that is wanted (422). `place` points into it.",
            pair(
                r#"POST /api/v1/monitors {"nam": "door"}"#,
                r#"POST /api/v1/monitors {"name": "door"}"#,
            ),
            "`talaia schema print batch` has the shape of an upload; agent and hub may be of different versions.",
            &["json-syntax", "protocol"],
        ),
        P::Form => (
            "A page sent a form that does not exist (422).",
            How("A page that was open while the hub was replaced by another version."),
            "Load the page again.",
            &[],
        ),
        P::TooLarge => (
            "The body is over its limit (413): 16 MiB after unpacking, 1 000 reports.",
            pair(
                "POST /api/v1/ingest @1001-reports.json",
                "POST /api/v1/ingest @1000-reports.json",
            ),
            "Send less at a time. An agent splits by itself.",
            &["too-long"],
        ),
        P::CutShort => (
            "The connection ended before the body did (400).",
            How("A client that is killed in the middle of an upload."),
            "Send it again; if it happens often, look at what is between.",
            &["slow"],
        ),
        P::Slow => (
            "The request did not come in time, or could not be answered in time (408).",
            How("A body that takes more than 20 s to come."),
            "Send it again.",
            &["cut-short", "too-long"],
        ),
        P::TooLong => (
            "To answer would take longer than a question may, so that one question holds up no others (503).",
            How("The points of a thousand plugins for a year, in one question."),
            "Ask for less: a shorter time, one plugin, one page after the other.",
            &["busy"],
        ),
        P::Busy => (
            "The hub cannot do it now (503): it starts, stops, or has a queue.",
            How("The hub is stopping, or a thousand agents come back at once."),
            "Send it again after `Retry-After`. An agent does.",
            &["retry"],
        ),
        P::Store => (
            "The hub's store failed (500). What exactly is for whoever runs the hub.",
            How("A file of the hub's folder was removed, or its disk gives errors."),
            "See the hub's log; `talaia hub verify` checks its files.",
            &["disk-full"],
        ),
        P::DiskFull => (
            "The hub's disk is full (507).",
            How("Less than 256 MiB are free on the disk of the hub's folder."),
            "Make room on it, or lower `[hub] quota`. Agents keep their reports until then.",
            &["store"],
        ),
        P::Cloned => (
            "Two spools send under one identity (409): a machine was copied with its data folder, or a snapshot brought back. Nothing was stored.",
            How("A virtual machine is copied with its agent stopped, and both are started."),
            "Nothing: the agent takes a new identity and sends again.",
            &[],
        ),
        P::ContractUnknown => (
            "No report of this plugin on this host has told yet what it declares (404).",
            pair_with(
                "POST /api/v1/ingest @batch.json",
                "GET /api/v1/contract?host=web-1&plugin=dsk",
                "GET /api/v1/contract?host=web-1&plugin=disk",
            ),
            "Agents tell it in the first report after a start, and once an hour.",
            &[],
        ),
        P::NoKey => (
            "There is no key of that name (404).",
            pair_with(
                r#"POST /api/v1/keys {"name": "web-1", "scopes": ["read"]}"#,
                "DELETE /api/v1/keys/web-2",
                "DELETE /api/v1/keys/web-1",
            ),
            "`talaia keys list` has their names.",
            &["key-unknown"],
        ),
        P::Key => (
            "The key cannot be made or changed like this (409 or 422): the name is taken or cannot be one, a scope does not exist, the time is over, or it is the last that may manage keys.",
            pair(
                r#"POST /api/v1/keys {"name": "web-1", "scopes": ["write"]}"#,
                r#"POST /api/v1/keys {"name": "web-1", "scopes": ["ingest"]}"#,
            ),
            "The detail says which.",
            &["no-key"],
        ),
        P::MonitorExists => (
            "There is a monitor of that name already; `id` is its number (409).",
            pair_with(
                r#"POST /api/v1/monitors {"name": "door"}"#,
                r#"POST /api/v1/monitors {"name": "door"}"#,
                r#"POST /api/v1/monitors {"name": "gate"}"#,
            ),
            "Use that one, or another name.",
            &["monitor-ambiguous"],
        ),
        P::MonitorUnknown => (
            "There is no such monitor (404).",
            pair_with(
                r#"POST /api/v1/monitors {"name": "door"}"#,
                "GET /api/v1/monitors/dor",
                "GET /api/v1/monitors/door",
            ),
            "`talaia monitor list` has ids and names.",
            &["monitor-ambiguous"],
        ),
        P::MonitorAmbiguous => (
            "Several monitors have the name; `ids` are their numbers (409).",
            pair_with(
                r#"POST /api/v1/monitors {"name": "door"}
POST /api/v1/monitors {"name": "door", "type": "lock"}"#,
                "GET /api/v1/monitors/door",
                "GET /api/v1/monitors/1",
            ),
            "Name it by its number.",
            &["monitor-unknown"],
        ),
        P::MonitorInvalid => (
            "A monitor cannot be like this (422): a name, metric, type or threshold that does not fit. `place` points to it.",
            pair(
                r#"POST /api/v1/monitors {"name": "door", "metrics": [{"name": "is-open", "type": "boolean"}]}"#,
                r#"POST /api/v1/monitors {"name": "door", "metrics": [{"name": "is_open", "type": "boolean"}]}"#,
            ),
            "Mend what the detail names.",
            &["results-refused"],
        ),
        P::MonitorUsed => (
            "The monitor has results, which the change would make wrong or take away (409).",
            pair_with(
                r#"POST /api/v1/monitors {"name": "door", "metrics": [{"name": "opened", "type": "counter"}]}
POST /api/v1/monitors/door/results {"values": {"opened": 3}}"#,
                "DELETE /api/v1/monitors/door?unused_since=2026-01-01T00:00:00Z",
                r#"POST /api/v1/monitors {"name": "gate"}"#,
            ),
            "Make another monitor, or remove its results first: `talaia monitor prune`.",
            &["monitor-suspended"],
        ),
        P::MonitorSuspended => (
            "The monitor is suspended and takes no results (409).",
            pair_with(
                r#"POST /api/v1/monitors {"name": "door", "metrics": [{"name": "opened", "type": "counter"}]}
POST /api/v1/monitors/door/suspend"#,
                r#"POST /api/v1/monitors/door/results {"values": {"opened": 3}}"#,
                r#"POST /api/v1/monitors/door/activate
POST /api/v1/monitors/door/results {"values": {"opened": 3}}"#,
            ),
            "`talaia monitor activate ID`.",
            &["monitor.suspend"],
        ),
        P::ResultsRefused => (
            "A posted request is taken whole or not at all, and some of its values are refused; `rejected` has each with code, place and hint (422).",
            pair_with(
                r#"POST /api/v1/monitors {"name": "door", "metrics": [{"name": "opened", "type": "counter"}]}"#,
                r#"POST /api/v1/monitors/door/results {"values": {"opened": -1}}"#,
                r#"POST /api/v1/monitors/door/results {"values": {"opened": 3}}"#,
            ),
            "Mend those and post all again.",
            &["value-type", "undeclared"],
        ),
        P::NoPackage => (
            "The registry has no such package or version (404).",
            pair_with(
                r#"POST /api/v1/packages {"name": "web-check"}"#,
                "GET /api/v1/packages/dor-check",
                "GET /api/v1/packages/web-check",
            ),
            "`talaia plugin status NAME` has the versions.",
            &["no-index"],
        ),
        P::Package => (
            "The package cannot be like this, or is not in the state that this takes (409 or 422): decided already, not handed in, changed meanwhile.",
            pair_with(
                r#"POST /api/v1/packages {"name": "web-check"}
PUT /api/v1/packages/web-check/versions/0.1.0 @web-check-0.1.0.zip"#,
                "POST /api/v1/packages/web-check/versions/0.1.0/approve {}",
                "POST /api/v1/packages/web-check/versions/0.1.0/submit\nPOST /api/v1/packages/web-check/versions/0.1.0/approve {}",
            ),
            "The detail says which; `talaia plugin status NAME` shows how it stands.",
            &["reviewer"],
        ),
        P::Archive => (
            "The body is not a package's archive, or not of the package that it says (422).",
            pair_with(
                r#"POST /api/v1/packages {"name": "web-check"}"#,
                "PUT /api/v1/packages/web-check/versions/0.1.0 @web-check.sh",
                "PUT /api/v1/packages/web-check/versions/0.1.0 @web-check-0.1.0.zip",
            ),
            "`talaia plugin check FOLDER`, then `talaia plugin pack FOLDER`.",
            &["package"],
        ),
        P::Full => (
            "The archives of the registry, or of the account in it, have all the room that they may have (507).",
            How("All archives together have 1 GiB, or those of the account 256 MiB."),
            "Withdraw drafts and what was rejected.",
            &["disk-full"],
        ),
        P::Damaged => (
            "The stored archive is not what was uploaded (500).",
            How("The disk gives back an archive that is not the one which it was given."),
            "Upload it again under another version, and look at the hub's disk.",
            &["store"],
        ),
        P::RegistryKey => (
            "The registry's signing key cannot be read or does not fit (500).",
            How("`registry.key` in the hub's folder was replaced by another registry's."),
            "See the hub's log; `talaia plugin key` prints what it has.",
            &["registry.rotate"],
        ),
        P::NoIndex => (
            "Nothing was given out yet, so there is no index (404).",
            pair_with(
                r#"POST /api/v1/packages {"name": "web-check"}
PUT /api/v1/packages/web-check/versions/0.1.0 @web-check-0.1.0.zip
POST /api/v1/packages/web-check/versions/0.1.0/submit"#,
                "GET /plugins/index.json",
                "POST /api/v1/packages/web-check/versions/0.1.0/approve {}
GET /plugins/index.json",
            ),
            "Approve a version.",
            &["no-package"],
        ),
    };
    Page::told(Kind::Problem, code.as_str(), meaning, shown, fix, see)
}

fn audit(action: AuditAction) -> Page {
    use AuditAction as A;
    let (meaning, command) = match action {
        A::KeyCreate => (
            "Somebody made a key; the detail has its scopes, and letters by which it can be told.",
            "$ talaia keys create web-1",
        ),
        A::KeyRotate => (
            "A key was put in the place of another of the same name, which ended then or after a grace.",
            "$ talaia keys rotate web-1 --grace 1h",
        ),
        A::KeyRevoke => ("A key was ended.", "$ talaia keys revoke web-1"),
        A::PluginKeyCreate => {
            ("A plugin was registered, and got a key.", "$ talaia keys create --plugin disk")
        }
        A::PluginKeyRevoke => {
            ("A registered plugin's key was ended.", "$ talaia keys revoke --plugin disk")
        }
        A::SecretKeyRotate => (
            "The account got another secret key; what was signed with the old one no longer holds.",
            "$ talaia keys rotate --secret-key",
        ),
        A::SessionEnd => (
            "All sessions of the account were ended, and its unused login links with them.",
            "$ talaia hub logout",
        ),
        A::AccountCreate => {
            ("Whoever runs the hub made an account.", "$ talaia hub account create lab")
        }
        A::AccountDisable => {
            ("Whoever runs the hub disabled an account.", "$ talaia hub account disable lab")
        }
        A::AccountEnable => {
            ("Whoever runs the hub enabled an account again.", "$ talaia hub account enable lab")
        }
        A::MonitorCreate => ("Somebody made a monitor.", "$ talaia monitor create door"),
        A::MonitorEdit => (
            "A monitor was changed; the detail is the name that it had.",
            "$ talaia monitor edit door --name gate",
        ),
        A::MonitorSuspend => (
            "A monitor was suspended: it takes no results until it is activated.",
            "$ talaia monitor suspend gate",
        ),
        A::MonitorActivate => {
            ("A suspended monitor takes results again.", "$ talaia monitor activate gate")
        }
        A::MonitorDelete => (
            "A monitor was removed, or results of it; the detail says how much.",
            "$ talaia monitor delete gate --yes",
        ),
        A::PackageRegister => (
            "A package's name was registered in the registry.",
            "$ talaia plugin register web-check",
        ),
        A::PackageUpload => (
            "A version of a package was uploaded as a draft.",
            "$ talaia plugin publish ./web-check --draft",
        ),
        A::PackageSubmit => {
            ("A draft was handed in to the reviewers.", "$ talaia plugin submit web-check 0.1.0")
        }
        A::PackageReview => {
            ("A reviewer took a version into review.", "$ talaia plugin review web-check 0.1.0")
        }
        A::PackageTrial => (
            "A reviewer ran a version, and attached the result.",
            "$ talaia plugin review web-check 0.1.0 --run --yes",
        ),
        A::PackageApprove => {
            ("A reviewer gave a version out.", "$ talaia plugin approve web-check 0.1.0")
        }
        A::PackageReject => (
            "A reviewer turned a version down.",
            "$ talaia plugin reject web-check 0.1.0 --reason 'which door?'",
        ),
        A::PackageWithdraw => {
            ("A version was taken back.", "$ talaia plugin withdraw web-check 0.1.0")
        }
        A::RegistryRotate => (
            "The registry goes on with another key; the detail is its fingerprint.",
            "$ talaia plugin key --rotate",
        ),
    };
    Page::told(Kind::Audit, action.as_str(), meaning, How(command), "", &[])
}
