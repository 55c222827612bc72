//! What a hub answers and writes down.

use super::{Kind, Page};
use crate::model::{AuditAction, ProblemCode};

pub(super) fn pages() -> impl Iterator<Item = Page> {
    let problems = ProblemCode::ALL.iter().map(|code| problem(*code));
    problems.chain(AuditAction::ALL.iter().map(|action| audit(*action)))
}

fn problem(code: ProblemCode) -> Page {
    use ProblemCode as P;
    let (meaning, fix, see): (_, _, &[&str]) = match code {
        P::Unauthorized => (
            "No key came with the request (401). All but `/healthz` and the description of the API needs one, or a session.",
            "Send `Authorization: Bearer KEY`. The local hub's key is in its credentials.json; `talaia keys create` makes others.",
            &["key-unknown", "signature"],
        ),
        P::KeyUnknown => (
            "This hub never gave the key (401). It is another hub's, cut short, or of an account that is no more.",
            "`talaia keys create NAME` on this hub prints one.",
            &["key-revoked", "hold"],
        ),
        P::KeyRevoked => (
            "Somebody ended the key (401).",
            "`talaia keys create NAME` makes another; `talaia keys audit` says who ended it.",
            &["key.revoke"],
        ),
        P::KeyExpired => (
            "The key was made for a time, which is over (401).",
            "`talaia keys rotate NAME` makes another in its place.",
            &["key.rotate"],
        ),
        P::Signature => (
            "A signed request does not hold (401): another secret key, a clock that is far off, a body or address that changed on the way, or one that came before.",
            "Set the clock, and sign what is sent; docs/hub-api.md has the recipe. A Bearer key is simpler.",
            &["unauthorized"],
        ),
        P::AccountDisabled => (
            "Whoever runs the hub disabled the account (403). All that it has is kept.",
            "`talaia hub account enable NAME` on the hub lets it in again.",
            &["account.disable"],
        ),
        P::Scope => (
            "The key is good, and may not do this (403). No scope implies another: a key that leaks from one place is of use in that place only.",
            "`talaia keys create NAME --scope SCOPE`; the detail names the scope.",
            &["key.create"],
        ),
        P::Reviewer => (
            "Only reviewers of this registry may do that (403).",
            "A key with the scope `review` of the hub's own account.",
            &["scope"],
        ),
        P::Host => (
            "The request names no host, or calls the hub by a name that is not its own (400 or 421). This keeps foreign pages from reaching a hub through a browser.",
            "Call it by its address, or add the name to `[hub] hosts`.",
            &["cross-site"],
        ),
        P::CrossSite => (
            "A form came from another site's page (403).",
            "Use the hub's own pages; programs send a key.",
            &["host"],
        ),
        P::Method => (
            "The path is there, and not with this method (405).",
            "docs/hub-api.md and `schemas/openapi.v1.json` have every path with its methods.",
            &["not-found"],
        ),
        P::NotFound => (
            "There is no such path, or nothing with this id (404).",
            "Is it a path of `/api/v1`? docs/hub-api.md lists them.",
            &["method"],
        ),
        P::Parameter => (
            "A parameter of the address is missing, comes twice, or cannot be read (400).",
            "The detail names it and what it takes.",
            &[],
        ),
        P::Protocol => (
            "The sender speaks another version of the protocol (400).",
            "Bring agent and hub to the same version.",
            &["shape"],
        ),
        P::MediaType => (
            "The body is of a kind that this path does not read (415).",
            "Send `Content-Type: application/json`, or what the detail names.",
            &["encoding"],
        ),
        P::JsonSyntax => (
            "The body is not JSON (400). `place` says where.",
            "Send what a JSON library writes.",
            &["shape"],
        ),
        P::Encoding => (
            "The body says that it is compressed, and cannot be unpacked (400).",
            "`Content-Encoding` is `zstd`, `gzip`, or left out.",
            &["media-type"],
        ),
        P::Shape => (
            "The body is JSON, and not of the shape that is wanted (422). `place` points into it.",
            "`talaia schema print batch` has the shape of an upload; agent and hub may be of different versions.",
            &["json-syntax", "protocol"],
        ),
        P::Form => ("A page sent a form that does not exist (422).", "Load the page again.", &[]),
        P::TooLarge => (
            "The body is over its limit (413): 16 MiB after unpacking, 1 000 reports.",
            "Send less at a time. An agent splits by itself.",
            &["too-long"],
        ),
        P::CutShort => (
            "The connection ended before the body did (400).",
            "Send it again; if it happens often, look at what is between.",
            &["slow"],
        ),
        P::Slow => (
            "The request did not come in time, or could not be answered in time (408).",
            "Send it again.",
            &["cut-short", "too-long"],
        ),
        P::TooLong => (
            "To answer would take longer than a question may, so that one question holds up no others (503).",
            "Ask for less: a shorter time, one plugin, one page after the other.",
            &["busy"],
        ),
        P::Busy => (
            "The hub cannot do it now (503): it starts, stops, or has a queue.",
            "Send it again after `Retry-After`. An agent does.",
            &["retry"],
        ),
        P::Store => (
            "The hub's store failed (500). What exactly is for whoever runs the hub.",
            "See the hub's log; `talaia hub verify` checks its files.",
            &["disk-full"],
        ),
        P::DiskFull => (
            "The hub's disk is full (507).",
            "Make room on it, or lower `[hub] quota`. Agents keep their reports until then.",
            &["store"],
        ),
        P::Cloned => (
            "Two spools send under one identity (409): a machine was copied with its data folder, or a snapshot brought back. Nothing was stored.",
            "Nothing: the agent takes a new identity and sends again.",
            &[],
        ),
        P::ContractUnknown => (
            "No report of this plugin on this host has told yet what it declares (404).",
            "Agents tell it in the first report after a start, and once an hour.",
            &[],
        ),
        P::NoKey => (
            "There is no key of that name (404).",
            "`talaia keys list` has their names.",
            &["key-unknown"],
        ),
        P::Key => (
            "The key cannot be made or changed like this (409 or 422): the name is taken or cannot be one, a scope does not exist, the time is over, or it is the last that may manage keys.",
            "The detail says which.",
            &["no-key"],
        ),
        P::MonitorExists => (
            "There is a monitor of that name already; `id` is its number (409).",
            "Use that one, or another name.",
            &["monitor-ambiguous"],
        ),
        P::MonitorUnknown => (
            "There is no such monitor (404).",
            "`talaia monitor list` has ids and names.",
            &["monitor-ambiguous"],
        ),
        P::MonitorAmbiguous => (
            "Several monitors have the name; `ids` are their numbers (409).",
            "Name it by its number.",
            &["monitor-unknown"],
        ),
        P::MonitorInvalid => (
            "A monitor cannot be like this (422): a name, metric, type or threshold that does not fit. `place` points to it.",
            "Mend what the detail names.",
            &["results-refused"],
        ),
        P::MonitorUsed => (
            "The monitor has results, which the change would make wrong or take away (409).",
            "Make another monitor, or remove its results first: `talaia monitor prune`.",
            &["monitor-suspended"],
        ),
        P::MonitorSuspended => (
            "The monitor is suspended and takes no results (409).",
            "`talaia monitor activate ID`.",
            &["monitor.suspend"],
        ),
        P::ResultsRefused => (
            "A posted request is taken whole or not at all, and some of its values are refused; `rejected` has each with code, place and hint (422).",
            "Mend those and post all again.",
            &["value-type", "undeclared"],
        ),
        P::NoPackage => (
            "The registry has no such package or version (404).",
            "`talaia plugin status NAME` has the versions.",
            &["no-index"],
        ),
        P::Package => (
            "The package cannot be like this, or is not in the state that this takes (409 or 422): decided already, not handed in, changed meanwhile.",
            "The detail says which; `talaia plugin status NAME` shows how it stands.",
            &["reviewer"],
        ),
        P::Archive => (
            "The body is not a package's archive, or not of the package that it says (422).",
            "`talaia plugin check FOLDER`, then `talaia plugin pack FOLDER`.",
            &["package"],
        ),
        P::Full => (
            "The archives of the registry, or of the account in it, have all the room that they may have (507).",
            "Withdraw drafts and what was rejected.",
            &["disk-full"],
        ),
        P::Damaged => (
            "The stored archive is not what was uploaded (500).",
            "Upload it again under another version, and look at the hub's disk.",
            &["store"],
        ),
        P::RegistryKey => (
            "The registry's signing key cannot be read or does not fit (500).",
            "See the hub's log; `talaia plugin key` prints what it has.",
            &["registry.rotate"],
        ),
        P::NoIndex => (
            "Nothing was given out yet, so there is no index (404).",
            "Approve a version.",
            &["no-package"],
        ),
    };
    Page::told(Kind::Problem, code.as_str(), meaning, fix, see)
}

fn audit(action: AuditAction) -> Page {
    use AuditAction as A;
    let meaning = match action {
        A::KeyCreate => {
            "Somebody made a key; the detail has its scopes, and letters by which it can be told."
        }
        A::KeyRotate => {
            "A key was put in the place of another of the same name, which ended then or after a grace."
        }
        A::KeyRevoke => "A key was ended.",
        A::PluginKeyCreate => "A plugin was registered, and got a key.",
        A::PluginKeyRevoke => "A registered plugin's key was ended.",
        A::SecretKeyRotate => {
            "The account got another secret key; what was signed with the old one no longer holds."
        }
        A::SessionEnd => {
            "All sessions of the account were ended, and its unused login links with them."
        }
        A::AccountCreate => "Whoever runs the hub made an account.",
        A::AccountDisable => "Whoever runs the hub disabled an account.",
        A::AccountEnable => "Whoever runs the hub enabled an account again.",
        A::MonitorCreate => "Somebody made a monitor.",
        A::MonitorEdit => "A monitor was changed; the detail is the name that it had.",
        A::MonitorSuspend => "A monitor was suspended: it takes no results until it is activated.",
        A::MonitorActivate => "A suspended monitor takes results again.",
        A::MonitorDelete => "A monitor was removed, or results of it; the detail says how much.",
        A::PackageRegister => "A package's name was registered in the registry.",
        A::PackageUpload => "A version of a package was uploaded as a draft.",
        A::PackageSubmit => "A draft was handed in to the reviewers.",
        A::PackageReview => "A reviewer took a version into review.",
        A::PackageTrial => "A reviewer ran a version, and attached the result.",
        A::PackageApprove => "A reviewer gave a version out.",
        A::PackageReject => "A reviewer turned a version down.",
        A::PackageWithdraw => "A version was taken back.",
        A::RegistryRotate => {
            "The registry goes on with another key; the detail is its fingerprint."
        }
    };
    Page::told(Kind::Audit, action.as_str(), meaning, "", &[])
}
