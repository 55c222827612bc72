use std::collections::BTreeMap;

use super::*;
use crate::config::User;

/// A folder with a config, a data folder with hubs, and an environment.
struct Place {
    dir: tempfile::TempDir,
    env: Env,
}

impl Place {
    fn new(vars: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vars: BTreeMap<_, _> =
            vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let env = Env {
            vars,
            user: User::Other,
            host: "web-1".to_owned(),
            cpus: 2,
            cwd: dir.path().to_path_buf(),
        };
        let place = Self { dir, env };
        place.file("talaia.toml", "[agent]\ndata_dir = 'data'\n");
        place
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// This machine's hub, in production or in the sandbox.
    fn hub(&self, folder: &str, url: &str, key: &str) {
        let text = serde_json::json!({"url": url, "key": key, "api_key": "A", "secret_key": "S"});
        self.file(&format!("{folder}/hub/credentials.json"), &text.to_string());
    }

    fn find(&self, change: impl Fn(&mut RemoteArgs)) -> Result<Target, Failure> {
        let mut args = RemoteArgs {
            config: Some("talaia.toml".into()),
            profile: None,
            sandbox: false,
            hub: None,
            key_file: None,
            ca: None,
            trace_http: false,
        };
        change(&mut args);
        let path = self.dir.path().join("talaia.toml");
        args.config = Some(path);
        find(&args, &self.env)
    }

    /// The address and what opens it, in one line.
    #[track_caller]
    fn found(&self, change: impl Fn(&mut RemoteArgs)) -> String {
        let target = self.find(change).unwrap_or_else(|failure| panic!("{failure}"));
        match target.opener {
            Opener::Key(key) => format!("{} {}", target.url, key.expose()),
            Opener::Account { api_key, secret_key } => {
                format!("{} {api_key}:{}", target.url, secret_key.expose())
            }
        }
    }
}

const CONFIG: &str = "
[agent]
data_dir = 'data'
[outputs.main]
type = 'talaia'
url = 'https://main.example.org'
key = { file = 'main.key' }
ca = 'ca.pem'
[profiles.staging]
hub = 'https://staging.example.org'
key = { file = 'staging.key' }
[profiles.account]
hub = 'https://account.example.org'
api_key = 'AK'
secret_key = { file = 'staging.key' }
[profiles.open]
hub = 'https://open.example.org'
[plugins.broken]
format = 'no such'
";

fn configured(vars: &[(&str, &str)]) -> Place {
    let place = Place::new(vars);
    place.file("talaia.toml", CONFIG);
    place.file("main.key", "main-key\n");
    place.file("staging.key", "staging-key\n");
    place.file("ca.pem", "");
    place
}

#[test]
fn flag_then_environment_then_credentials_then_config() {
    let place = configured(&[]);
    assert_eq!(place.found(|_| {}), "https://main.example.org main-key");
    place.hub("data", "http://127.0.0.1:7180", "local-key");
    assert_eq!(place.found(|_| {}), "http://127.0.0.1:7180 local-key");
    let mut place = place;
    place.env.vars.insert("TALAIA_HUB".to_owned(), "https://env.example.org/".to_owned());
    place.env.vars.insert("TALAIA_KEY".to_owned(), "env-key".to_owned());
    assert_eq!(place.found(|_| {}), "https://env.example.org env-key");
    place.file("flag.key", "flag-key\n");
    let flags = |args: &mut RemoteArgs| {
        args.hub = Some("https://flag.example.org".to_owned());
        args.key_file = Some("flag.key".into());
    };
    assert_eq!(place.found(flags), "https://flag.example.org flag-key");
    let key = |args: &mut RemoteArgs| args.key_file = Some("flag.key".into());
    assert_eq!(place.found(key), "https://env.example.org flag-key");
    let file = |args: &mut RemoteArgs| args.key_file = Some("data/hub/credentials.json".into());
    assert_eq!(place.found(file), "http://127.0.0.1:7180 local-key", "a file that says the hub");
}

#[test]
fn a_named_profile_brings_hub_and_key_together() {
    let place = configured(&[
        ("TALAIA_HUB", "https://env.example.org"),
        ("TALAIA_KEY", "env-key"),
        ("MONITIS_SANDBOX_APIKEY", "SA"),
    ]);
    place.hub("data", "http://127.0.0.1:7180", "local-key");
    place.hub("data/sandbox", "http://127.0.0.1:7181", "sandbox-key");
    let of = |name: &str| {
        let name = name.to_owned();
        place.found(move |args| args.profile = Some(name.clone()))
    };
    assert_eq!(of("staging"), "https://staging.example.org staging-key");
    assert_eq!(of("account"), "https://account.example.org AK:staging-key");
    let failure = place.find(|args| args.profile = Some("open".to_owned())).unwrap_err();
    assert!(failure.text.contains("TALAIA_KEY belongs to https://env.example.org"), "{failure}");
    assert_eq!(of("production"), "http://127.0.0.1:7180 local-key");
    assert_eq!(of("sandbox"), "http://127.0.0.1:7181 sandbox-key");
    assert_eq!(place.found(|args| args.sandbox = true), "http://127.0.0.1:7181 sandbox-key");
    let failure = place.find(|args| args.profile = Some("stagign".to_owned())).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.text.contains("account, open, production, sandbox, staging"), "{failure}");
    let mut place = place;
    place.env.vars.remove("TALAIA_HUB");
    let lacking = place.found(|args| args.profile = Some("open".to_owned()));
    assert_eq!(lacking, "https://open.example.org env-key", "what it lacks");
}

#[test]
fn a_key_goes_to_the_hub_that_is_said_with_it_alone() {
    let mut place = configured(&[("TALAIA_HUB", "https://env.example.org")]);
    place.hub("data", "http://127.0.0.1:7180", "local-key");
    let at = |place: &Place, url: &str| {
        let url = url.to_owned();
        place.find(move |args| args.hub = Some(url.clone()))
    };
    let pair: &[_] = &[("TALAIA_API_KEY", "AK"), ("TALAIA_SECRET_KEY", "env-secret")];
    for (vars, said) in [
        (&[("TALAIA_KEY", "env-secret")][..], "TALAIA_KEY belongs to https://env.example.org"),
        (pair, "TALAIA_API_KEY and TALAIA_SECRET_KEY belongs to https://env.example.org"),
    ] {
        for (name, value) in vars {
            place.env.vars.insert((*name).to_owned(), (*value).to_owned());
        }
        let failure = at(&place, "http://stranger.example.org").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text.contains(said), "{failure}");
        assert!(!failure.text.contains("env-secret"), "{failure}");
        // The hub's own key is found all the same, and the variables' with their own hub.
        let local = at(&place, "http://127.0.0.1:7180").unwrap();
        assert_eq!(local.opener, Opener::Key(Secret::new("local-key")));
        assert!(!at(&place, "https://ENV.example.org:443/").unwrap().origin.contains("json"));
        for (name, _) in vars {
            place.env.vars.remove(*name);
        }
    }
    place.env.vars.insert("TALAIA_KEY".to_owned(), "env-secret".to_owned());
    place.env.vars.insert("TALAIA_HUB".to_owned(), "https://me:s3cret@hub".to_owned());
    let failure = at(&place, "http://stranger.example.org").unwrap_err();
    assert!(failure.text.contains("TALAIA_KEY belongs to another hub"), "{failure}");
    place.env.vars.remove("TALAIA_HUB");
    let target = at(&place, "http://stranger.example.org").unwrap();
    assert_eq!(target.origin, "TALAIA_KEY", "nothing says that it is another's");

    // So does a file that says its hub.
    let file = |url: &str| {
        let url = url.to_owned();
        place.find(move |args| {
            args.hub = Some(url.clone());
            args.key_file = Some("data/hub/credentials.json".into());
        })
    };
    let failure = file("http://stranger.example.org").unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    let said = "data/hub/credentials.json belongs to http://127.0.0.1:7180";
    assert!(failure.text.contains(said), "{failure}");
    let target = file("http://127.0.0.1:7180/").unwrap();
    assert_eq!(target.opener, Opener::Key(Secret::new("local-key")));
}

#[test]
fn a_key_of_one_hub_is_not_sent_to_another() {
    let place = configured(&[]);
    place.hub("data", "http://127.0.0.1:7180", "local-key");
    place.hub("data/sandbox", "http://127.0.0.1:7181", "sandbox-key");
    let at = |url: &str| {
        let url = url.to_owned();
        place.find(move |args| args.hub = Some(url.clone()))
    };
    let failure = at("https://stranger.example.org").unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.text.contains("--key-file"), "{failure}");
    // But that of the hub itself is found, wherever it is kept.
    for (url, key) in [
        ("http://127.0.0.1:7180/", "local-key"),
        ("http://127.0.0.1:7181", "sandbox-key"),
        ("https://staging.example.org", "staging-key"),
        ("https://MAIN.example.org:443", "main-key"),
    ] {
        let target = at(url).unwrap_or_else(|failure| panic!("{url}: {failure}"));
        assert_eq!(target.opener, Opener::Key(Secret::new(key)), "{url}");
    }
    // With a profile of one hub and the address of another, neither is the profile's key.
    let mixed = place.find(|args| {
        args.profile = Some("staging".to_owned());
        args.hub = Some("https://stranger.example.org".to_owned());
    });
    assert!(mixed.is_err());
}

#[test]
fn old_names_stand_for_the_pair_and_differing_ones_are_told() {
    let mut place = Place::new(&[("MONITIS_API_KEY", "OLD"), ("MONITIS_SECRET_KEY", "old-secret")]);
    place.hub("data", "http://127.0.0.1:7180", "local-key");
    place.hub("data/sandbox", "http://127.0.0.1:7181", "sandbox-key");
    assert_eq!(place.found(|_| {}), "http://127.0.0.1:7180 OLD:old-secret");
    let sandbox = |args: &mut RemoteArgs| args.sandbox = true;
    assert_eq!(place.found(sandbox), "http://127.0.0.1:7181 sandbox-key", "not production's");
    let mut set = |name: &str, value: &str| {
        place.env.vars.insert(name.to_owned(), value.to_owned());
    };
    set("MONITIS_APIKEY", "NEWER");
    set("MONITIS_SECRETKEY", "old-secret");
    set("MONITIS_SANDBOX_APIKEY", "SA");
    set("MONITIS_SANDBOX_SECRETKEY", "sandbox-secret");
    let target = place.find(|_| {}).unwrap();
    assert_eq!(target.origin, "MONITIS_APIKEY and MONITIS_SECRETKEY");
    assert_eq!(
        target.warnings,
        ["MONITIS_APIKEY and MONITIS_API_KEY are set and differ: MONITIS_APIKEY is used"]
    );
    assert_eq!(place.found(sandbox), "http://127.0.0.1:7181 SA:sandbox-secret");
    place.env.vars.insert("TALAIA_KEY".to_owned(), "env-key".to_owned());
    assert_eq!(place.found(|_| {}), "http://127.0.0.1:7180 env-key", "a key comes first");
    let shown = format!("{:?}", place.find(|_| {}).unwrap());
    assert!(!shown.contains("env-key"), "{shown}");
}

#[test]
fn nothing_to_talk_to_is_told() {
    let place = Place::new(&[]);
    let failure = place.find(|_| {}).unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(failure.text.contains("talaia run"), "{failure}");
    for url in ["hub.example.org", "ftp://hub", "https://me:s3cret@hub", "https://hub/?key=s3cret"]
    {
        let failure = place.find(|args| args.hub = Some(url.to_owned())).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(!failure.text.contains("s3cret"), "{failure}");
    }
    place.file("spaced", "two words\n");
    let failure = place.find(|args| args.key_file = Some("spaced".into())).unwrap_err();
    assert_eq!(failure.exit, Exit::Input);
    let failure = place.find(|args| args.key_file = Some("none".into())).unwrap_err();
    assert_eq!(failure.exit, Exit::Input);
}

#[test]
fn this_machines_certificate_and_an_outputs_authority_are_trusted_for_their_hub() {
    let place = configured(&[]);
    let text = r#"{"url":"https://127.0.0.1:7180","key":"k","certificate":"/etc/hub.pem"}"#;
    place.file("data/hub/credentials.json", text);
    let local = place.find(|_| {}).unwrap();
    assert_eq!(local.client.tls.pinned, Some("/etc/hub.pem".into()));
    let main = |args: &mut RemoteArgs| args.hub = Some("https://main.example.org".to_owned());
    let tls = place.find(main).unwrap().client.tls;
    assert_eq!((tls.ca, tls.pinned), (Some(place.dir.path().join("ca.pem")), None));
    let own = place.find(|args| args.ca = Some("mine.pem".into())).unwrap().client.tls;
    assert_eq!((own.ca, own.pinned), (Some(place.dir.path().join("mine.pem")), None));
}
