//! `doctor`: what works on this host, what does not, and how to get it.

use microagent_types::BackendName;
use microagent_wire::exit_code;
use microagent_workspace::Interrupt;
use microagent_workspace::doctor::{self, Check, CheckStatus, DoctorReport, Mended};
use serde_json::{Value, json};

use super::host;
use crate::args::DoctorArgs;
use crate::error::Failure;
use crate::printer::{Paint, Printer};
use crate::progress_bar::ProgressBars;
use crate::render::escape::escaped;
use crate::render::json::error_document;
use crate::render::table::lines;
use crate::settings::GlobalSettings;
use crate::signals;

/// Prints every check; 1 when a required one fails.
pub(crate) fn perform(
    args: &DoctorArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context()?;
    let interrupt = Interrupt::new();
    let mut report = doctor::doctor(&context, &interrupt);
    let mut mended = Vec::new();
    if args.fix {
        signals::watch(&interrupt)?;
        let mut progress = ProgressBars::new(printer);
        mended = doctor::mend(&context, &report, &mut progress, &interrupt);
        drop(progress);
        report = doctor::doctor(&context, &interrupt);
    }
    for one in &mended {
        match &one.result {
            Ok(done) => printer.note(&format!("{}: {done}", one.id)),
            Err(fault) => printer.note(&format!("{}: not mended: {}", one.id, fault.message)),
        }
    }
    printer.value(
        || text(&report.checks, printer.stdout_paint()),
        || {
            json!({
                "ok": report.is_fine(),
                "backend": report.backend.map(BackendName::as_str),
                "accelerator": report.accelerator,
                "checks": report.checks.iter().map(check_document).collect::<Vec<_>>(),
                "fixed": args.fix.then(|| mended.iter().map(mended_document).collect::<Vec<_>>()),
                "host": host::document(&report, &context),
            })
        },
    )?;
    Ok(code(&report))
}

fn code(report: &DoctorReport) -> u8 {
    if report.is_fine() {
        exit_code::DONE
    } else {
        exit_code::FAILED
    }
}

fn mended_document(mended: &Mended) -> Value {
    json!({
        "id": mended.id,
        "done": mended.result.as_ref().ok(),
        "error": mended.result.as_ref().err().map(|fault| error_document(fault)["error"].clone()),
    })
}

fn check_document(check: &Check) -> Value {
    json!({
        "id": check.id,
        "status": word(check.status),
        "required": check.required,
        "message": escaped(&check.message),
        "meaning": (check.status != CheckStatus::Ok).then(|| check.meaning()),
        "fix": check.fix.as_deref(),
    })
}

fn word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Ok => "ok",
        CheckStatus::Warn => "warn",
        CheckStatus::Fail => "fail",
    }
}

fn text(checks: &[Check], paint: Paint) -> String {
    let mut answer = Vec::new();
    for check in checks {
        let word = format!("{:<4}", word(check.status));
        let word = match check.status {
            CheckStatus::Ok => paint.good(&word),
            CheckStatus::Warn => paint.warning(&word),
            CheckStatus::Fail => paint.error(&word),
        };
        answer.push(format!(
            "{word}  {:<12} {}",
            check.id,
            escaped(&check.message)
        ));
        if check.status != CheckStatus::Ok {
            answer.push(format!("      {}", paint.dimmed(check.meaning())));
        }
        if let Some(fix) = &check.fix {
            answer.push(format!("      {} {}", paint.hint("fix:"), escaped(fix)));
        }
    }
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let (problems, warnings) = (count(CheckStatus::Fail), count(CheckStatus::Warn));
    let plural = |count| if count == 1 { "" } else { "s" };
    answer.push(format!(
        "{problems} problem{}, {warnings} warning{}",
        plural(problems),
        plural(warnings)
    ));
    lines(answer)
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::printer::Paint;
    use microagent_workspace::doctor::{Check, CheckStatus};

    #[test]
    fn each_check_is_a_line_and_each_fix_stands_below() {
        let check = |id, status, message: &str, fix: Option<&str>| Check {
            id,
            status,
            required: true,
            message: message.to_owned(),
            fix: fix.map(str::to_owned),
        };
        let checks = [
            check("host", CheckStatus::Ok, "Linux 6.8 amd64, 16 cpus", None),
            check(
                "confinement",
                CheckStatus::Warn,
                "3 of 9 measures",
                Some("sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
            ),
            check(
                "kernel",
                CheckStatus::Fail,
                "none\u{7}",
                Some("cargo xtask kernel"),
            ),
        ];
        insta::assert_snapshot!(text(&checks, Paint::Plain), @r"
        ok    host         Linux 6.8 amd64, 16 cpus
        warn  confinement  3 of 9 measures
              a guest that breaks out of its VM meets less on the host
              fix: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0
        fail  kernel       none\u{7}
              a start needs a kernel first
              fix: cargo xtask kernel
        1 problem, 1 warning
        ");
    }
}
