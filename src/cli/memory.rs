//! How the C library's allocator gives back memory that is free.
//!
//! Left alone, it learns from the first large buffer that is freed to keep such buffers, for ever
//! and up to 64 MiB for each of its arenas: an agent whose plugins once printed a lot stays large.
//! Where it keeps none of them it takes a third less under hostile output. It reads these settings
//! from the environment alone, when a program starts.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What is larger is mapped by itself, and given back when it is freed; and so much may be free at
/// the end of the heap. These are what the allocator begins with; that they are stated keeps them.
const SETTINGS: [(&str, &str); 2] =
    [("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// Starts this program anew, as the same process, with the settings in its environment, unless it or
/// whoever started it has set some. Where that cannot be done, nothing is lost but memory. To be
/// called before anything is opened or any thread started.
pub(crate) fn settle() {
    let is_set = std::env::vars_os().any(|(name, _)| is_setting(&name));
    if is_set || !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return;
    }
    // By its path, not as `/proc/self/exe`: the process is known by the name of what it executes.
    let Ok(program) = std::env::current_exe() else { return };
    // Started through the dynamic loader, that is the loader.
    if program.file_name().is_none_or(|name| name != "talaia") {
        return;
    }
    let mut args = std::env::args_os();
    let mut command = Command::new(program);
    command.arg0(args.next().unwrap_or_else(|| "talaia".into())).args(args).envs(SETTINGS);
    let _not_started = command.exec();
}

fn is_setting(name: &OsStr) -> bool {
    name == "GLIBC_TUNABLES" || name.as_encoded_bytes().starts_with(b"MALLOC_")
}
