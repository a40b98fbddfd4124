//! The vz-sync binary: arguments, environment, runtime, exit code.

use std::collections::BTreeMap;
use std::process::ExitCode;

use vz_sync::cli::{self, Exit};

/// Long-lived processes with many small, short allocations: glibc's arenas would
/// hold on to several times the live memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .collect();
    // Threads are made here and nowhere else, so that a command can be tested on any
    // runtime. The embedded database brings a thread of its own to die with.
    let exit = cli::run(std::env::args_os(), environment, |command| {
        match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(command),
            Err(_) => Exit::Failure,
        }
    });
    exit.into()
}
