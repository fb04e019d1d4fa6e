//! Starting the VMM and its helpers as children that can't outlive us and see nothing of ours.
//!
//! Each child gets its three streams, the listed descriptors and three words of environment, ends
//! when the thread that made it ends, and can gain no privileges. What it says for people goes line
//! by line to the log, bounded, and the last lines are kept, since they hold the reason of a failed
//! start. Must be called on the monitor's one thread.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use microagent_os::process::{ParentDeath, Signal, Spawn, SpawnError, Stream};
use microagent_supervisor::backend::Console;
use microagent_types::env_vars::EnvVar;
use tokio::io::AsyncRead;
use tokio::net::unix::pipe;

use crate::pidfd::OwnedProcess;
use crate::words::{self, LastLines};

/// A program to be started.
#[derive(Debug)]
pub struct Launch {
    /// Its name in the log and in records.
    pub name: &'static str,
    /// Where it is.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its working folder.
    pub working_folder: PathBuf,
    /// The value of its `PATH`.
    pub search_path: String,
    /// Descriptors that it gets, with their numbers, from 3 on.
    pub descriptors: Vec<(i32, OwnedFd)>,
}

/// A program that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A pipe could not be made or watched.
    #[error("cannot make the pipes of `{}`", program.display())]
    Pipe {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was not executed.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// A child that runs.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub process: Rc<OwnedProcess>,
    /// What it said last.
    pub last_lines: LastLines,
}

impl Running {
    /// Has a second source of the program's words treated like its stderr, as long as it runs.
    pub fn drain_also(&self, log: impl AsyncRead + Unpin + 'static) {
        let (process, kept) = (self.process.clone(), self.last_lines.clone());
        tokio::task::spawn_local(async move {
            tokio::select! {
                biased;
                () = words::drain(process.name(), log, kept) => {}
                _ = process.ended() => {}
            }
        });
    }
}

impl Launch {
    /// Starts a VMM: stdin and stdout are the guest's serial port, stderr is for people.
    pub fn start_vmm(self) -> Result<(Running, Console), LaunchError> {
        let (input_for_child, input) = self.pipe()?;
        let (output, output_of_child) = self.pipe()?;
        let input = self.checked(pipe::Sender::from_owned_fd(input))?;
        let output = self.checked(pipe::Receiver::from_owned_fd(output))?;
        let console = Console {
            output: Box::new(output),
            input: Box::new(input),
        };
        let streams = Streams {
            stdin: Stream::File(File::from(input_for_child)),
            stdout: Some(File::from(output_of_child)),
        };
        Ok((self.start(streams)?, console))
    }

    /// Starts a helper: both its outputs are for people.
    pub fn start_helper(self) -> Result<Running, LaunchError> {
        self.start(Streams {
            stdin: Stream::Null,
            stdout: None,
        })
    }

    fn start(self, streams: Streams) -> Result<Running, LaunchError> {
        let (log, log_of_child) = self.pipe()?;
        let log = self.checked(pipe::Receiver::from_owned_fd(log))?;
        let stderr = File::from(log_of_child);
        let stdout = match streams.stdout {
            Some(stdout) => stdout,
            None => self.checked(stderr.try_clone())?,
        };
        let mut spawn = Spawn::new(&self.program)
            .arguments(&self.arguments)
            .variable(EnvVar::Path.name(), &self.search_path)
            .variable(EnvVar::Lang.name(), "C.UTF-8")
            .working_folder(&self.working_folder)
            .stdin(streams.stdin)
            .stdout(Stream::File(stdout))
            .stderr(Stream::File(stderr))
            .parent_death(ParentDeath::Signals(Signal::Kill))
            .no_new_privileges();
        if let Some(log) = EnvVar::Log.read() {
            spawn = spawn.variable(EnvVar::Log.name(), log);
        }
        for (number, descriptor) in self.descriptors {
            spawn = spawn.descriptor(number, descriptor);
        }
        let child = spawn.start()?;
        let process = OwnedProcess::new(self.name, child).map_err(|source| LaunchError::Pipe {
            program: self.program.clone(),
            source,
        })?;
        tracing::debug!(program = self.name, process = %process.identity(), "started");
        let last_lines = words::listen(self.name, log);
        Ok(Running {
            process: Rc::new(process),
            last_lines,
        })
    }

    /// Reading and writing end.
    fn pipe(&self) -> Result<(OwnedFd, OwnedFd), LaunchError> {
        self.checked(
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from),
        )
    }

    fn checked<T>(&self, result: io::Result<T>) -> Result<T, LaunchError> {
        result.map_err(|source| LaunchError::Pipe {
            program: self.program.clone(),
            source,
        })
    }
}

struct Streams {
    stdin: Stream,
    stdout: Option<File>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_loop::in_loop;
    use crate::words::{LAST_LINES_MAX, LOGGED_BYTES_MAX};
    use microagent_os::process::Exit;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn shell(script: &str) -> Launch {
        Launch {
            name: "sh",
            program: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            working_folder: PathBuf::from("/"),
            search_path: "/usr/bin:/bin".to_owned(),
            descriptors: Vec::new(),
        }
    }

    #[test]
    fn a_vmm_talks_through_its_streams_and_its_end_is_told() {
        in_loop(async {
            let (running, mut console) = shell("read line; echo got $line; echo sigh >&2; exit 7")
                .start_vmm()
                .unwrap();
            console.input.write_all(b"word\n").await.unwrap();
            let mut said = String::new();
            console.output.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "got word\n");
            assert_eq!(running.process.ended().await.unwrap(), Exit::Code(7));
            assert_eq!(running.last_lines.at_the_end().await, ["sigh"]);
        });
    }

    #[test]
    fn a_child_has_three_streams_three_words_and_no_way_to_privileges() {
        in_loop(async {
            let script = "ls /proc/$$/fd; echo env; env | cut -d= -f1 | sort; \
                          grep -h NoNewPrivs /proc/$$/status";
            let (_running, mut console) = shell(script).start_vmm().unwrap();
            let mut said = String::new();
            console.output.read_to_string(&mut said).await.unwrap();
            let (descriptors, rest) = said.split_once("env\n").unwrap();
            assert_eq!(descriptors.trim(), "0\n1\n2");
            // The shell itself adds these two.
            let words: Vec<&str> = rest
                .lines()
                .filter(|word| !["PWD", "_", "SHLVL", "OLDPWD", "MICROAGENT_LOG"].contains(word))
                .collect();
            assert_eq!(words, ["LANG", "PATH", "NoNewPrivs:\t1"]);
        });
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        in_loop(async {
            let mut launch = shell("");
            launch.program = PathBuf::from("/nowhere/engine");
            let error = launch.start_helper().unwrap_err();
            assert_eq!(error.to_string(), "cannot start `/nowhere/engine`");
        });
    }

    #[test]
    fn the_last_words_of_a_talkative_program_are_kept_all_the_same() {
        in_loop(async {
            let flood = format!(
                "head -c {} /dev/zero | tr '\\0' x | fold -w 100 >&2; echo why >&2",
                2 * LOGGED_BYTES_MAX
            );
            let running = shell(&flood).start_helper().unwrap();
            running.process.ended().await.unwrap();
            let lines = running.last_lines.at_the_end().await;
            assert_eq!(lines.len(), LAST_LINES_MAX);
            assert!(lines.last().unwrap().ends_with("why"), "{lines:?}");
        });
    }
}
