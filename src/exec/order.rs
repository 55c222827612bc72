//! How the launcher is told what to do, and answers.
//!
//! The launcher is this very program, started with one word ([`WORD`]). What it is to do comes over a
//! socket that is its standard input: nothing of it is in `argv`, nothing of a plugin's environment
//! (`LD_PRELOAD`) works on a launcher that is still root, and the plugin's real standard input comes
//! along as a descriptor. The socket also carries the answer. It is closed by the exec that starts the
//! program, so whatever is in it was said by the launcher and by nobody else: that is how a failure
//! to start is told from an exit code.
//!
//! Format: a length (4 bytes, little-endian), then that many bytes: fields `key=value`, each ended by a
//! zero byte. Both sides are the same file on disk, so it has no version.

use std::ffi::{OsStr, OsString};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::Rlimit;

use super::launch::{Caps, Launch, Privileges};
use super::spec::Spec;

/// The first argument of this program when it is to be the launcher.
pub const WORD: &str = "__launch";

/// The agent's end of a launch.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) ours: OwnedFd,
}

impl Line {
    /// Writes what the launcher is to do for one run into a new socket; the other end of it is to
    /// be the launcher's standard input, `stdin` the plugin's. `env` is what the run adds to its
    /// plugin's environment.
    pub(super) fn open(
        launch: &Launch,
        spec: &Spec,
        env: &[(&str, String)],
        nofile: Option<Rlimit>,
        stdin: BorrowedFd<'_>,
    ) -> Result<(Self, OwnedFd), String> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|e| format!("no socket for its launcher: {e}; see `ulimit -n`"))?;
        let order = encode(launch, spec, env, nofile);
        let length = u32::try_from(order.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let stdin = [stdin];
        control.push(SendAncillaryMessage::ScmRights(&stdin));
        let bytes = [IoSlice::new(&length), IoSlice::new(&order)];
        // All of it fits into the socket at once, or the launcher would wait for us and we for it.
        match rustix::net::sendmsg(&ours, &bytes, &mut control, SendFlags::DONTWAIT) {
            Ok(sent) if sent == length.len() + order.len() => Ok((Self { ours }, theirs)),
            Ok(_) | Err(Errno::AGAIN | Errno::MSGSIZE) => Err(format!(
                "`{}`: its arguments and environment are too large for its launcher",
                spec.program.display()
            )),
            Err(error) => Err(format!("its launcher cannot be told what to do: {error}")),
        }
    }

    /// What the launcher said, once the child is dead: why the program was not started. `None`
    /// where it was.
    pub(super) fn failure(&self) -> Option<String> {
        let mut text = vec![0; 4096];
        let flags = RecvFlags::DONTWAIT;
        let (got, _) = rustix::net::recv(&self.ours, text.as_mut_slice(), flags).ok()?;
        text.truncate(got);
        (got > 0).then(|| String::from_utf8_lossy(&text).into_owned())
    }
}

/// What the launcher is told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) parent: Option<i32>,
    pub(super) user: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) groups: Vec<u32>,
    pub(super) nice: Option<i32>,
    pub(super) privileges: Privileges,
    pub(super) caps: Caps,
    /// The soft limit on open files, and the hard one, before the agent raised its own.
    pub(super) nofile: Option<(Option<u64>, Option<u64>)>,
    pub(super) cgroup: Option<PathBuf>,
    pub(super) program: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
}

fn encode(launch: &Launch, spec: &Spec, env: &[(&str, String)], nofile: Option<Rlimit>) -> Vec<u8> {
    let mut fields = Fields(Vec::with_capacity(1024));
    fields.put("parent", std::process::id().to_string());
    if let Some(identity) = &launch.identity {
        fields.put("user", &identity.name);
        fields.put("uid", identity.uid.to_string());
        fields.put("gid", identity.gid.to_string());
        for group in &identity.groups {
            fields.put("group", group.to_string());
        }
    }
    fields.put_number("nice", launch.nice);
    if launch.privileges == Privileges::NoNew {
        fields.put("no_new_privs", "");
    }
    let caps = &launch.caps;
    fields.put_number("memory", caps.memory);
    fields.put_number("cpu", caps.cpu);
    fields.put_number("processes", caps.processes);
    fields.put_number("files", caps.files);
    fields.put_number("file_size", caps.file_size);
    if let Some(limit) = nofile {
        fields.put("nofile", "");
        fields.put_number("nofile_soft", limit.current);
        fields.put_number("nofile_hard", limit.maximum);
    }
    if let Some(cgroup) = &launch.cgroup {
        fields.put("cgroup", cgroup.path.as_os_str());
    }
    fields.put("program", spec.program.as_os_str());
    fields.put("dir", spec.dir.as_os_str());
    for arg in &spec.args {
        fields.put("arg", arg);
    }
    for (key, value) in &spec.env {
        fields.put_pair(key, value);
    }
    for (key, value) in env {
        fields.put_pair(OsStr::new(key), OsStr::new(value));
    }
    fields.0
}

struct Fields(Vec<u8>);

impl Fields {
    fn put(&mut self, key: &str, value: impl AsRef<OsStr>) {
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'=');
        self.0.extend_from_slice(value.as_ref().as_bytes());
        self.0.push(0);
    }

    fn put_number(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.put(key, value.to_string());
        }
    }

    fn put_pair(&mut self, key: &OsStr, value: &OsStr) {
        let mut pair = key.to_owned();
        pair.push("=");
        pair.push(value);
        self.put("env", pair);
    }
}

impl Order {
    /// Reads what the agent wrote, and takes the descriptor that came with it: the plugin's standard
    /// input.
    pub(super) fn receive(socket: impl AsFd) -> Result<(Self, OwnedFd), String> {
        let failed = |error: Errno| format!("no order from an agent: {error}");
        let mut length = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut length)];
        let got = rustix::net::recvmsg(&socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)
            .map_err(failed)?;
        let stdin = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let stdin = stdin.filter(|_| got.bytes == 4).ok_or("no order from an agent")?;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::io::read(&socket, &mut bytes[filled..]) {
                Ok(0) => return Err("its order ends in the middle".to_owned()),
                Ok(n) => filled += n,
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok((Self::parse(&bytes)?, stdin))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut order = Self::default();
        for field in bytes.split(|b| *b == 0).filter(|field| !field.is_empty()) {
            let at = field.iter().position(|b| *b == b'=').unwrap_or(field.len());
            let (key, value) = (&field[..at], field.get(at + 1..).unwrap_or_default());
            let text = || OsString::from_vec(value.to_vec());
            match key {
                b"parent" => order.parent = Some(number(value)?),
                b"user" => order.user = Some(String::from_utf8_lossy(value).into_owned()),
                b"uid" => order.uid = Some(number(value)?),
                b"gid" => order.gid = Some(number(value)?),
                b"group" => order.groups.push(number(value)?),
                b"nice" => order.nice = Some(number(value)?),
                b"no_new_privs" => order.privileges = Privileges::NoNew,
                b"memory" => order.caps.memory = Some(number(value)?),
                b"cpu" => order.caps.cpu = Some(number(value)?),
                b"processes" => order.caps.processes = Some(number(value)?),
                b"files" => order.caps.files = Some(number(value)?),
                b"file_size" => order.caps.file_size = Some(number(value)?),
                b"nofile" => order.nofile = Some((None, None)),
                b"nofile_soft" => order.nofile.get_or_insert_default().0 = Some(number(value)?),
                b"nofile_hard" => order.nofile.get_or_insert_default().1 = Some(number(value)?),
                b"cgroup" => order.cgroup = Some(PathBuf::from(text())),
                b"program" => order.program = PathBuf::from(text()),
                b"dir" => order.dir = PathBuf::from(text()),
                b"arg" => order.args.push(text()),
                b"env" => {
                    let at = value.iter().position(|b| *b == b'=').unwrap_or(value.len());
                    let (key, value) = (&value[..at], value.get(at + 1..).unwrap_or_default());
                    order.env.push((
                        OsString::from_vec(key.to_vec()),
                        OsString::from_vec(value.to_vec()),
                    ));
                }
                // A limit that is not understood must not be a limit that is not there.
                _ => return Err(format!("unknown order `{}`", String::from_utf8_lossy(key))),
            }
        }
        Ok(order)
    }
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Result<T, String> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("`{}` is not a number", String::from_utf8_lossy(value)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::super::launch::tests::launch;
    use super::super::spec::{Leftovers, Stdin};
    use super::super::trust::Trust;
    use super::*;

    fn spec(args: Vec<OsString>) -> Spec {
        Spec {
            plugin: "p".parse().unwrap(),
            program: PathBuf::from("/bin/true"),
            args,
            dir: PathBuf::from("/"),
            env: vec![("A".into(), "b=c\nd".into()), ("EMPTY".into(), "".into())],
            life: super::super::spec::Life::Run,
            stdin: Stdin::Null,
            timeout: Duration::from_secs(1),
            grace: Duration::from_secs(1),
            stdout_cap: 1,
            stderr_cap: 1,
            leftovers: Leftovers::Kill,
            trust: Trust::default(),
            launch: None,
        }
    }

    #[test]
    fn an_order_arrives_as_it_was_given_with_the_standard_input() {
        let args = vec!["".into(), "a=b".into(), OsString::from_vec(vec![0xff, b'\n'])];
        let spec = spec(args.clone());
        let null = File::open("/dev/null").unwrap();
        let nofile = Rlimit { current: Some(1024), maximum: None };
        let run = [("TALAIA_RUN_ID", "r".to_owned())];
        let (line, theirs) =
            Line::open(&launch(), &spec, &run, Some(nofile), null.as_fd()).unwrap();
        let (order, stdin) = Order::receive(&theirs).unwrap();
        assert_eq!(order.parent, i32::try_from(std::process::id()).ok());
        assert_eq!((order.uid, order.gid, order.groups), (Some(1000), Some(100), vec![4, 6]));
        assert_eq!((order.nice, order.privileges), (Some(-5), Privileges::NoNew));
        assert_eq!(order.caps, launch().caps);
        assert_eq!(order.nofile, Some((Some(1024), None)));
        assert_eq!((order.args, order.cgroup), (args, None));
        let wanted: Vec<(OsString, OsString)> = vec![
            ("A".into(), "b=c\nd".into()),
            ("EMPTY".into(), "".into()),
            ("TALAIA_RUN_ID".into(), "r".into()),
        ];
        assert_eq!(order.env, wanted);
        assert_eq!(rustix::io::read(&stdin, &mut [0; 8]).unwrap(), 0);

        assert_eq!(line.failure(), None);
        rustix::io::write(&theirs, b"no such thing").unwrap();
        drop(theirs);
        assert_eq!(line.failure().as_deref(), Some("no such thing"));
        assert_eq!(line.failure(), None);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let spec = spec(vec!["x".repeat(1 << 20).into()]);
        let null = File::open("/dev/null").unwrap();
        let error = Line::open(&launch(), &spec, &[], None, null.as_fd()).unwrap_err();
        assert!(error.contains("too large"), "{error}");
    }

    #[test]
    fn an_unknown_order_is_refused() {
        assert!(Order::parse(b"parent=1\0pids=3\0").unwrap_err().contains("pids"));
        assert!(Order::parse(b"uid=-1\0").is_err());
    }
}
