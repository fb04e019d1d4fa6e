//! Runs one command of an image in a microVM of its own and prints what it wrote.
//!
//! ```text
//! cargo run -p microagent-workspace --example run_once -- <prefix>/bin oci:./image echo hello
//! ```
//!
//! The first argument is where the parts of an installation are found beside.

use microagent_boot::search_path::SearchPath;
use microagent_workspace::guest_session::SessionSink;
use microagent_workspace::progress::Silent;
use microagent_workspace::request::NetworkSettings;
use microagent_workspace::run::{Keep, RunSettings, RunStreams};
use microagent_workspace::workload::{SizeSettings, WorkloadSettings};
use microagent_workspace::{Context, Interrupt, NameTaken, Profile, PullSettings, run};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Passes the guest's bytes on, unmerged.
struct PassOn;

impl SessionSink for PassOn {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::stdout().write_all(bytes)
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().write_all(bytes)
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(bin), Some(image)) = (words.next(), words.next()) else {
        return Err("give the folder of an installation's programs, an image and a command".into());
    };
    let state_dir = std::env::temp_dir().join("microagent-example");
    let mut context = Context::new(state_dir.as_path().try_into()?)?;
    context.search_path = SearchPath::beside(&Path::new(&bin).join("microagent"));

    let settings = RunSettings {
        pull: PullSettings::default(),
        image: image.parse()?,
        name: None,
        name_taken: NameTaken::default(),
        workload: WorkloadSettings {
            command: words.collect(),
            ..WorkloadSettings::default()
        },
        disks: Vec::new(),
        files: Vec::new(),
        copy_out: Vec::new(),
        size: SizeSettings {
            profile: Profile::Small,
            ..SizeSettings::default()
        },
        network: NetworkSettings::default(),
        hostname: None,
        labels: BTreeMap::new(),
        kernel: None,
        timeout: Some(Duration::from_mins(1)),
        ready_timeout: None,
        keep: Keep::Nothing,
        tty: None,
        output_limit_bytes: None,
    };
    let streams = RunStreams {
        stdin: None,
        sink: &mut PassOn,
    };
    let report = run(&context, &settings, streams, &mut Silent, &Interrupt::new())?;
    Ok(ExitCode::from(report.outcome.end.exit_code()))
}
