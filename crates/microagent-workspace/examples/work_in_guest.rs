//! Works in a workspace that runs: a folder goes in, a command reads what it is fed and writes both streams
//! while it runs, and a folder that it made comes out.
//!
//! ```text
//! microagent create box --image docker.io/library/debian:12 --idle && microagent start box
//! cargo run -p microagent-workspace --example work_in_guest -- \
//!     <prefix>/libexec/microagent-qemu-supervisor ~/.microagent box ./folder /srv/work ./out
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program of its own, which reads a folder and says how it gets on"
)]

use microagent_types::{GuestPath, WorkspaceName};
use microagent_workspace::copy::{CopyOwner, CopySource};
use microagent_workspace::guest_session::SessionSink;
use microagent_workspace::progress::Silent;
use microagent_workspace::{
    Context, CopyInSettings, CopyOutSettings, ExecSettings, Interrupt, RunStreams, copy_in,
    copy_out, exec,
};
use std::error::Error;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Counts the bytes of each file that its input names, keeps a copy, and says on stderr how it gets on.
const COMMAND: &str = "cd \"$0\" && mkdir -p made && while read name; do \
     echo \"looking at $name\" >&2; wc -c < \"$name\"; cp \"$name\" made/; done";

/// What a command has written until now. A program that shows it at once does so here: each call is a piece
/// as it came, and while it is not taken the command waits.
#[derive(Debug, Default)]
pub struct Streams {
    /// Its stdout.
    pub stdout: Vec<u8>,
    /// Its stderr.
    pub stderr: Vec<u8>,
}

impl SessionSink for Streams {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.extend_from_slice(bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stderr.extend_from_slice(bytes);
        Ok(())
    }
}

/// Copies `from` to the guest's folder `there`, has it looked at, and copies what was made to `to`.
pub fn work(
    context: &Context,
    name: &WorkspaceName,
    from: &Path,
    there: &GuestPath,
    to: &Path,
) -> Result<Streams, Box<dyn Error>> {
    // Whoever hears signals asks this one to end the work: `interrupt.request(…)`, from any thread.
    let interrupt = Interrupt::new();
    let copied = copy_in(
        context,
        name,
        CopySource::Path(from.to_owned()),
        there,
        &CopyInSettings {
            owner: CopyOwner::Kept,
            follow_links: false,
            ready_timeout: None,
        },
        &interrupt,
        &mut Silent,
    )?;
    eprintln!("{} files, {} bytes went in", copied.files, copied.bytes);

    let mut names = String::new();
    for entry in std::fs::read_dir(from)? {
        names.push_str(&entry?.file_name().to_string_lossy());
        names.push('\n');
    }
    let settings = ExecSettings {
        argv: ["sh", "-c", COMMAND, there.as_str()]
            .map(str::to_owned)
            .to_vec(),
        timeout: Some(Duration::from_mins(1)),
        ..ExecSettings::default()
    };
    let mut written = Streams::default();
    let streams = RunStreams {
        // Anything that can be read: a file, a socket, a pipe that somebody still writes to.
        stdin: Some(Box::new(Cursor::new(names))),
        sink: &mut written,
    };
    let outcome = exec(context, name, &settings, streams, &interrupt)?;
    if outcome.end.exit_code() != 0 {
        return Err(format!("the command ended with {:?}", outcome.end).into());
    }

    let made: GuestPath = format!("{there}/made").parse()?;
    let settings = CopyOutSettings {
        keep_owner: false,
        bytes_max: Some(1 << 30),
        ready_timeout: None,
    };
    copy_out(context, name, &made, to, &settings, &interrupt, &mut Silent)?;
    Ok(written)
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [supervisor, state_dir, name, from, there, to] = words.as_slice() else {
        return Err(
            "give a supervisor, a state directory, a name, a folder, a guest's folder and a target"
                .into(),
        );
    };
    let mut context = Context::new(Path::new(state_dir).try_into()?)?;
    context.supervisor = Some(PathBuf::from(supervisor));
    let (from, to) = (Path::new(from), Path::new(to));
    let written = work(&context, &name.parse()?, from, &there.parse()?, to)?;
    print!("{}", String::from_utf8_lossy(&written.stdout));
    Ok(())
}
