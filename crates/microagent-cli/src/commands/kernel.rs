//! `kernel`: the kernels that workspaces boot by default.

use std::path::Path;

use microagent_types::{Arch, BackendName, WorkspaceName};
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::kernels::{self, InvalidUrl, Kernel, KernelSource, KernelUrl, Verified};
use microagent_workspace::{Context, Interrupt, supervisors};
use serde_json::{Value, json};

use crate::args::{KernelArgs, KernelCommand, KernelInstallArgs, KernelScope};
use crate::error::{Failure, usage};
use crate::printer::Printer;
use crate::progress_bar::ProgressBars;
use crate::render::table::{Column, lines, table};
use crate::settings::{GlobalSettings, absolute};
use crate::signals;

const COLUMNS: [Column; 6] = [
    Column::left("BACKEND"),
    Column::left("ARCH"),
    Column::left("VERSION"),
    Column::right("SIZE"),
    Column::left("SOURCE"),
    Column::right("USED BY"),
];

/// Does what was asked of the kernels.
pub(crate) fn perform(
    args: KernelArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context()?;
    match args.command {
        KernelCommand::List(scope) => list(&context, &scope, printer),
        KernelCommand::Install(args) => install(&context, &args, printer),
        KernelCommand::Verify(scope) => verify(&context, &scope, printer),
        KernelCommand::Path(scope) => path(&context, &scope, printer),
    }
}

fn list(context: &Context, scope: &KernelScope, printer: &Printer) -> Result<u8, Failure> {
    let kernels = kernels::list(context, arch(scope)?).map_err(|e| Failure::of_library(&e))?;
    let rows: Vec<Vec<String>> = kernels.iter().map(row).collect();
    printer.value(
        || table(&COLUMNS, &rows, printer.table_width()),
        || json!({ "kernels": kernels.iter().map(document).collect::<Vec<_>>() }),
    )?;
    Ok(exit_code::DONE)
}

fn install(context: &Context, args: &KernelInstallArgs, printer: &Printer) -> Result<u8, Failure> {
    let source = source(args)?;
    let arch = arch(&args.scope)?;
    let backend = backend(context)?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let mut progress = ProgressBars::new(printer);
    let installed = kernels::install(context, backend, arch, &source, &mut progress, &interrupt);
    drop(progress);
    let (kernel, changed) = installed.map_err(|error| Failure::of_library(&error))?;
    printer.value(
        || lines([kernel.installed.path.display().to_string()]),
        || {
            let mut kernel = document(&kernel);
            kernel["changed"] = changed.into();
            kernel
        },
    )?;
    if changed {
        printer.note(&format!(
            "running workspaces on `{backend}` keep their kernel until their next start"
        ));
    } else {
        printer.note("this kernel is installed already");
    }
    Ok(exit_code::DONE)
}

/// What was typed as one of the places that kernels come from.
fn source(args: &KernelInstallArgs) -> Result<KernelSource, Failure> {
    let Some(word) = &args.from else {
        return Ok(KernelSource::Release);
    };
    let text = word.to_string_lossy();
    if !text.contains("://") {
        return Ok(KernelSource::File {
            path: absolute(Path::new(word), "--from")?,
            expected: args.sha256,
        });
    }
    let url: KernelUrl = text.parse().map_err(|error: InvalidUrl| {
        usage(
            error.to_string(),
            "fetch it yourself, then: microagent kernel install --from FILE --sha256 HEX",
        )
    })?;
    let Some(expected) = args.sha256 else {
        return Err(usage(
            "a kernel from an address needs its SHA-256",
            format!(
                "it stands where the address was found: microagent kernel install --from {} --sha256 HEX",
                url.shown()
            ),
        )
        .into());
    };
    Ok(KernelSource::Url { url, expected })
}

fn verify(context: &Context, scope: &KernelScope, printer: &Printer) -> Result<u8, Failure> {
    let verified = kernels::verify(context, arch(scope)?).map_err(|e| Failure::of_library(&e))?;
    let intact = verified.iter().all(Verified::is_intact);
    printer.value(
        || {
            lines(verified.iter().map(|verified| {
                let word = if verified.is_intact() {
                    "ok"
                } else {
                    "DIFFERS"
                };
                format!("{word:<8} {}", verified.kernel.installed.path.display())
            }))
        },
        || {
            json!({
                "ok": intact,
                "kernels": verified.iter().map(|verified| json!({
                    "backend": verified.kernel.backend.as_str(),
                    "arch": verified.kernel.arch.as_str(),
                    "path": verified.kernel.installed.path.display().to_string(),
                    "expectedSha256": verified.kernel.installed.sha256.to_string(),
                    "actualSha256": verified.actual.map(|actual| actual.to_string()),
                    "ok": verified.is_intact(),
                })).collect::<Vec<_>>(),
            })
        },
    )?;
    if intact {
        return Ok(exit_code::DONE);
    }
    printer.note("put the kernel of this release back with: microagent kernel install");
    Ok(exit_code::FAILED)
}

fn path(context: &Context, scope: &KernelScope, printer: &Printer) -> Result<u8, Failure> {
    let arch = arch(scope)?;
    let backend = backend(context)?;
    let (path, installed) =
        kernels::path(context, backend, arch).map_err(|e| Failure::of_library(&e))?;
    let path = path.display().to_string();
    printer.value(
        || lines([&path]),
        || {
            json!({
                "path": path,
                "backend": backend.as_str(),
                "arch": arch.as_str(),
                "installed": installed,
            })
        },
    )?;
    if installed {
        return Ok(exit_code::DONE);
    }
    printer.note("it is not installed; the first use installs it, or: microagent kernel install");
    Ok(exit_code::FAILED)
}

fn arch(scope: &KernelScope) -> Result<Arch, Failure> {
    scope.arch.or_else(Arch::current).ok_or_else(|| {
        Fault::new(FaultKind::Unsupported, "this processor runs no workspaces")
            .with_hint("say which kernel is meant: --arch amd64 or --arch arm64")
            .into()
    })
}

/// The backend that was asked for, or the one that a new workspace would get.
fn backend(context: &Context) -> Result<BackendName, Failure> {
    supervisors::chosen_backend(context, &Interrupt::new())
        .map_err(|error| Failure::of_library(&error))
}

fn row(kernel: &Kernel) -> Vec<String> {
    vec![
        kernel.backend.to_string(),
        kernel.arch.to_string(),
        kernel
            .installed
            .version
            .clone()
            .unwrap_or_else(|| "-".to_owned()),
        kernel.size.to_string(),
        kernel.installed.source.clone(),
        kernel.workspaces.len().to_string(),
    ]
}

fn document(kernel: &Kernel) -> Value {
    let installed = &kernel.installed;
    json!({
        "backend": kernel.backend.as_str(),
        "arch": kernel.arch.as_str(),
        "path": installed.path.display().to_string(),
        "version": installed.version,
        "sha256": installed.sha256.to_string(),
        "sizeBytes": kernel.size.bytes(),
        "source": installed.source,
        "installedAt": installed.installed_at.map(|at| at.to_string()),
        "workspaces": kernel.workspaces.iter().map(WorkspaceName::as_str).collect::<Vec<_>>(),
    })
}
