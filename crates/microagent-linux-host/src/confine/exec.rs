//! The moment between the monitor's child and the VMM: set up, report, and become it.
//!
//! This is the body of the internal mode `confined-exec`. It runs with one thread, takes its words
//! from an inherited socket, and without that socket it is nothing. What could not be had is
//! reported and left out; the monitor decides whether that will do.
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use microagent_os::process::{self, Signal, Spawn, Stream};
use microagent_supervisor::backend::ConfinementPart;

use super::message::{Become, LENGTH_BYTES, Report, Setup, Unreadable, body_length};
use super::namespaces::{self, EnterError, Entered};
use super::{root, tap};

/// The number of the socket to the monitor.
pub const CONTROL_SOCKET: i32 = 63;
/// The name of the mode, its only argument.
pub const MODE: &str = "confined-exec";

/// Why this process did not become a VMM.
#[derive(Debug, thiserror::Error)]
pub enum ConfinedExecError {
    /// It was not started by a monitor.
    #[error("`{MODE}` is an internal mode and needs the descriptors that it inherits")]
    NotInherited,
    /// The monitor is gone or sent something else.
    #[error("the monitor's words can't be read")]
    Words(#[source] io::Error),
    /// A step without which it must not go on.
    #[error("cannot {step}")]
    Step {
        /// What.
        step: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program was not executed.
    #[error(transparent)]
    Spawn(#[from] process::SpawnError),
}

impl From<Unreadable> for ConfinedExecError {
    fn from(error: Unreadable) -> Self {
        Self::Words(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// Sets up, reports, and becomes the VMM. Returns only with an error.
pub fn confined_exec() -> ConfinedExecError {
    match set_up_and_become() {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn set_up_and_become() -> Result<std::convert::Infallible, ConfinedExecError> {
    let mut control = inherited_control()?;
    let setup = Setup::decode(&read_body(&mut control)?)?;
    let (report, packet_socket) = set_up(&setup)?;
    let write = control.write_all(&report.encode());
    write.map_err(ConfinedExecError::Words)?;
    if let Some(socket) = packet_socket {
        tap::hand_over(&control, &socket).map_err(ConfinedExecError::Words)?;
    }
    let target = Become::decode(&read_body(&mut control)?)?;
    give_up(&report)?;
    // The socket closes with the exec, which tells the monitor that it has happened.
    Err(replace(target)?.into())
}

fn inherited_control() -> Result<File, ConfinedExecError> {
    let path = format!("/proc/self/fd/{CONTROL_SOCKET}");
    let link = microagent_os::fs::read_link(Path::new(&path));
    if !link.is_ok_and(|target| target.to_string_lossy().starts_with("socket:")) {
        return Err(ConfinedExecError::NotInherited);
    }
    let control = process::take_inherited(CONTROL_SOCKET);
    Ok(File::from(control.map_err(ConfinedExecError::Words)?))
}

fn read_body(control: &mut File) -> Result<Vec<u8>, ConfinedExecError> {
    let mut length = [0u8; LENGTH_BYTES];
    control
        .read_exact(&mut length)
        .map_err(ConfinedExecError::Words)?;
    let mut body = vec![0u8; body_length(length)?];
    control
        .read_exact(&mut body)
        .map_err(ConfinedExecError::Words)?;
    Ok(body)
}

fn set_up(setup: &Setup) -> Result<(Report, Option<OwnedFd>), ConfinedExecError> {
    let mut report = Report::default();
    let mut packet_socket = None;
    let namespaces = [
        ConfinementPart::UserNamespace,
        ConfinementPart::MountNamespace,
        ConfinementPart::IpcNamespace,
        ConfinementPart::NetworkNamespace,
    ];
    let own_root = match namespaces::enter() {
        Ok(entered) => {
            report.holds.extend(namespaces);
            if entered == Entered::WithoutUser {
                let reason = "the host refuses user namespaces".to_owned();
                report.holds.remove(0);
                report
                    .missing
                    .push((ConfinementPart::UserNamespace, reason));
            }
            // The host's devices are still in sight, and so is the right to make a network.
            if setup.tap {
                report.tap = Some(match tap::make() {
                    Ok(socket) => {
                        packet_socket = Some(socket);
                        Ok(())
                    }
                    Err(error) => Err(error.to_string()),
                });
            }
            root::enter(setup).map_err(|error| error.to_string())
        }
        Err(EnterError::Refused(error)) => {
            let reason = error.to_string();
            let missing = namespaces.map(|part| (part, reason.clone()));
            report.missing.extend(missing);
            Err(reason)
        }
        Err(EnterError::Spoiled(source)) => {
            return Err(ConfinedExecError::Step {
                step: "map itself into its user namespace",
                source,
            });
        }
    };
    match own_root {
        Ok(()) => report.holds.push(ConfinementPart::PrivateRoot),
        Err(reason) => report.missing.push((ConfinementPart::PrivateRoot, reason)),
    }
    Ok((report, packet_socket))
}

/// Whatever is left of rights is given up before the program is there to use it.
fn give_up(report: &Report) -> Result<(), ConfinedExecError> {
    let step = |step: &'static str| move |source| ConfinedExecError::Step { step, source };
    namespaces::limit_resources().map_err(step("limit its resources"))?;
    if report.holds.contains(&ConfinementPart::MountNamespace) {
        namespaces::drop_capabilities().map_err(step("drop its capabilities"))?;
    }
    // Entering a user namespace and dropping capabilities have cleared it.
    process::signal_me_when_parent_ends(Signal::Kill).map_err(step("bind itself to its monitor"))
}

fn replace(target: Become) -> Result<process::SpawnError, ConfinedExecError> {
    let mut spawn = Spawn::new(target.program)
        .arguments(target.arguments)
        .inherit_environment()
        .working_folder(target.working_folder)
        .stdin(Stream::Inherit)
        .stdout(Stream::Inherit)
        .stderr(Stream::Inherit)
        .no_new_privileges();
    for number in target.descriptors {
        let descriptor = process::take_inherited(number).map_err(ConfinedExecError::Words)?;
        spawn = spawn.descriptor(number, descriptor);
    }
    Ok(spawn.replace())
}
