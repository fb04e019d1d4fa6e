//! `cp`: files into a workspace and out of it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use microagent_types::{ByteSize, GuestPath, Span, WorkspaceName};
use microagent_wire::exit_code;
use microagent_wire::fault::Fault;
use microagent_workspace::copy::{CopyOwner, CopySource};
use microagent_workspace::{
    Context, CopyInSettings, CopyOutSettings, CopyReport, Interrupt, copy_in, copy_out,
    copy_out_tar,
};
use serde_json::{Value, json};

use crate::args::CpArgs;
use crate::error::{Failure, usage};
use crate::printer::{Format, Printer};
use crate::progress_bar::ProgressBars;
use crate::settings::GlobalSettings;
use crate::signals;
use crate::wording::Act;

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Side {
    Guest(WorkspaceName, GuestPath),
    Host(PathBuf),
    Stream,
}

/// Copies.
pub(crate) fn perform(
    args: CpArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let sides = (side(&args.source)?, side(&args.target)?);
    let name = match &sides {
        (Side::Guest(name, _), Side::Host(_) | Side::Stream)
        | (Side::Host(_) | Side::Stream, Side::Guest(name, _)) => name.clone(),
        _ => return Err(one_side().into()),
    };
    if sides.1 == Side::Stream && printer.format() == Format::Json {
        return Err(Failure::usage(
            "`-` as the target is a tar on stdout, and --json a document there",
            "leave out --json, or copy into a folder",
        ));
    }
    let context = global.context_of_existing()?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let to_stdout = sides.1 == Side::Stream;
    let report = copy(&context, sides, &args, &interrupt, printer)
        .map_err(|failure| failure.of_act(Act::Copy, &name))?;
    tell(&args, &report, to_stdout, printer)?;
    Ok(if report.refused.is_empty() {
        exit_code::DONE
    } else {
        exit_code::FAILED
    })
}

fn one_side() -> Fault {
    usage(
        "cp needs exactly one side of the form NAME:/path",
        "microagent cp ./file web:/tmp/",
    )
}

/// `NAME:/path` is a guest's; a path that holds a slash before its colon is this host's, as is one whose
/// part before the colon is no name.
fn side(word: &OsString) -> Result<Side, Failure> {
    if word == "-" {
        return Ok(Side::Stream);
    }
    let guest = word.to_str().and_then(|text| text.split_once(':'));
    let Some((name, path)) = guest.filter(|(name, _)| !name.contains('/')) else {
        return Ok(Side::Host(PathBuf::from(word)));
    };
    let Ok(name) = name.parse::<WorkspaceName>() else {
        return Ok(Side::Host(PathBuf::from(word)));
    };
    let path = path.parse().map_err(|_| {
        Failure::usage(
            format!("`{path}` is not an absolute path in `{name}`"),
            format!("microagent cp ./file {name}:/tmp/"),
        )
    })?;
    Ok(Side::Guest(name, path))
}

fn copy(
    context: &Context,
    sides: (Side, Side),
    args: &CpArgs,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Result<CopyReport, Failure> {
    let ready_timeout = args.ready_timeout.map(Span::duration);
    let mut progress = ProgressBars::new(printer);
    let out = CopyOutSettings {
        keep_owner: args.archive,
        bytes_max: args.limit.0.map(ByteSize::bytes),
        ready_timeout,
    };
    let copied = match sides {
        (Side::Guest(name, source), Side::Host(target)) => copy_out(
            context,
            &name,
            &source,
            &target,
            &out,
            interrupt,
            &mut progress,
        ),
        (Side::Guest(name, source), _) => {
            let mut stdout = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
            let copied = copy_out_tar(
                context,
                &name,
                &source,
                &mut stdout,
                &out,
                interrupt,
                &mut progress,
            );
            // What could not be flushed was noticed by the copy itself.
            let _ = stdout.flush();
            copied
        }
        (source, Side::Guest(name, target)) => {
            let settings = CopyInSettings {
                owner: owner(args),
                follow_links: args.follow_links,
                ready_timeout,
            };
            let source = match source {
                Side::Host(path) => CopySource::Path(path),
                _ => CopySource::Tar(Box::new(io::stdin())),
            };
            copy_in(
                context,
                &name,
                source,
                &target,
                &settings,
                interrupt,
                &mut progress,
            )
        }
        _ => return Err(one_side().into()),
    };
    drop(progress);
    copied.map_err(|error| Failure::of_library(&error))
}

fn owner(args: &CpArgs) -> CopyOwner {
    match args.chown {
        _ if args.archive => CopyOwner::Kept,
        Some(owner) => CopyOwner::Set {
            uid: owner.uid,
            gid: owner.gid,
        },
        None => CopyOwner::Set { uid: 0, gid: 0 },
    }
}

fn tell(
    args: &CpArgs,
    report: &CopyReport,
    to_stdout: bool,
    printer: &Printer,
) -> Result<(), Failure> {
    if !to_stdout && printer.format() == Format::Json {
        let value = document(args, report);
        printer.value(String::new, || value)?;
    }
    for entry in &report.refused {
        printer.note(&format!("refused: {}: {}", entry.path, entry.reason));
    }
    for entry in &report.skipped {
        printer.note(&format!("skipped: {}: {}", entry.path, entry.reason));
    }
    let unnamed = report
        .skipped_total
        .saturating_sub(report.skipped.len() as u64);
    if unnamed > 0 {
        printer.note(&format!("skipped: {unnamed} more"));
    }
    printer.note(&format!(
        "{} files, {} are copied in {}",
        report.files,
        ByteSize::from_bytes(report.bytes),
        Span::from(report.duration)
    ));
    Ok(())
}

fn document(args: &CpArgs, report: &CopyReport) -> Value {
    let entries = |entries: &[microagent_wire::guest::service::Skipped]| -> Vec<Value> {
        let entry = |entry: &microagent_wire::guest::service::Skipped| json!({ "path": entry.path, "reason": entry.reason });
        entries.iter().map(entry).collect()
    };
    json!({
        "source": shown(&args.source),
        "destination": shown(&args.target),
        "via": report.via.as_str(),
        "files": report.files,
        "directories": report.directories,
        "symlinks": report.symlinks,
        "bytes": report.bytes,
        "skipped": entries(&report.skipped),
        "skippedTotal": report.skipped_total,
        "refused": entries(&report.refused),
        "durationMs": u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
    })
}

fn shown(word: &OsString) -> String {
    Path::new(word).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::{Side, side};
    use std::ffi::OsString;

    #[test]
    fn a_side_is_a_guests_only_when_a_name_and_an_absolute_path_say_so() {
        let of = |text: &str| side(&OsString::from(text)).map_err(|_| ());
        let host = |text: &str| Ok(Side::Host(text.into()));
        assert_eq!(
            of("web:/srv"),
            Ok(Side::Guest("web".parse().unwrap(), "/srv".parse().unwrap()))
        );
        assert_eq!(of("-"), Ok(Side::Stream));
        assert_eq!(of("./web:/srv"), host("./web:/srv"));
        assert_eq!(of("/a/b:c"), host("/a/b:c"));
        assert_eq!(of("Not_A_Name:/x"), host("Not_A_Name:/x"));
        assert_eq!(of("plain"), host("plain"));
        assert_eq!(of("web:srv"), Err(()));
    }
}
