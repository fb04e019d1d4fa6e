//! A child of ours: one task waits for its end, others signal it meanwhile.
//!
//! The wait is on a pidfd, so it costs no thread, no poll and no signal handler, and a signal can
//! never reach somebody who got the pid later. The status is taken as soon as the end is seen.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use microagent_os::process::{Child, Delivery, Exit, ProcessHandle, ProcessIdentity, Signal};

/// What a process gets to end after SIGTERM, before SIGKILL.
const TERMINATE_LIMIT: Duration = Duration::from_secs(1);
/// What the kernel gets to end a process after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A child that this process started and has to reap.
#[derive(Debug)]
pub struct OwnedProcess {
    name: &'static str,
    child: RefCell<Child>,
    handle: ProcessHandle,
}

impl OwnedProcess {
    /// Takes the child over.
    pub fn new(name: &'static str, child: Child) -> io::Result<Self> {
        Ok(Self {
            name,
            handle: child.handle().try_clone()?,
            child: RefCell::new(child),
        })
    }

    /// Its name in the log.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Who it is; the pid is the one that the host's `/proc` shows.
    pub fn identity(&self) -> &ProcessIdentity {
        self.handle.identity()
    }

    /// Its pid as this process counts.
    pub fn pid_here(&self) -> u32 {
        self.child.borrow().pid_here()
    }

    /// Sends a signal. To a process that has ended it is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<Delivery> {
        self.handle.signal(signal)
    }

    /// Waits for the end and takes the status. Any number may wait, also after the end.
    pub async fn ended(&self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.child.borrow_mut().try_wait()? {
                return Ok(exit);
            }
            // The kernel refuses to watch one descriptor twice, and there may be several who wait.
            self.handle.try_clone()?.ended().await?;
        }
    }

    /// The status, when it has ended.
    pub fn exit(&self) -> Option<Exit> {
        self.child.borrow_mut().try_wait().ok().flatten()
    }

    /// Ends it: SIGTERM, a second, SIGKILL. A failure is logged; there is nobody else to tell.
    pub async fn end(&self) {
        if self.exit().is_some() {
            return;
        }
        let _ = self.signal(Signal::Terminate);
        if tokio::time::timeout(TERMINATE_LIMIT, self.ended())
            .await
            .is_err()
        {
            self.end_at_once().await;
        }
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub async fn end_at_once(&self) {
        if let Err(error) = self.signal(Signal::Kill) {
            tracing::warn!(program = self.name, %error, "cannot be killed");
        }
        if tokio::time::timeout(KILL_LIMIT, self.ended())
            .await
            .is_err()
        {
            tracing::warn!(
                program = self.name,
                process = %self.identity(),
                limit_ms = KILL_LIMIT.as_millis(),
                "still there after SIGKILL"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_loop::in_loop;
    use microagent_os::process::{Spawn, Stream};
    use std::io::Read;

    /// A shell that has come as far as saying so.
    fn sleeper(preparation: &str) -> OwnedProcess {
        let mut child = Spawn::new("/bin/sh")
            .argument("-c")
            .argument(format!(
                "{preparation} echo ready; while :; do sleep 600; done"
            ))
            .variable("PATH", "/usr/bin:/bin")
            .stdout(Stream::Pipe)
            .start()
            .unwrap();
        let mut line = [0u8; 6];
        let stdout = child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut line).unwrap();
        OwnedProcess::new("sh", child).unwrap()
    }

    #[test]
    fn an_end_is_seen_while_another_task_signals() {
        in_loop(async {
            let process = std::rc::Rc::new(sleeper(""));
            assert_eq!(process.exit(), None);
            let waiter = process.clone();
            let wait = tokio::task::spawn_local(async move { waiter.ended().await.unwrap() });
            tokio::task::yield_now().await;
            process.signal(Signal::Terminate).unwrap();
            assert_eq!(wait.await.unwrap(), Exit::Signal(15));
            assert_eq!(process.ended().await.unwrap(), Exit::Signal(15));
            assert_eq!(process.signal(Signal::Kill).unwrap(), Delivery::AlreadyGone);
        });
    }

    #[test]
    fn any_number_may_wait_for_one_end() {
        in_loop(async {
            let process = std::rc::Rc::new(sleeper(""));
            let waits = [(); 3].map(|()| {
                let waiter = process.clone();
                tokio::task::spawn_local(async move { waiter.ended().await })
            });
            tokio::task::yield_now().await;
            process.end().await;
            for wait in waits {
                assert_eq!(wait.await.unwrap().unwrap(), Exit::Signal(15));
            }
            assert_eq!(process.exit(), Some(Exit::Signal(15)));
        });
    }

    #[test]
    fn what_ends_at_sigterm_is_not_killed() {
        in_loop(async {
            let process = sleeper("");
            process.end().await;
            assert_eq!(process.exit(), Some(Exit::Signal(15)));
        });
    }

    #[test]
    fn what_ignores_sigterm_is_killed() {
        in_loop(async {
            let process = sleeper("trap '' TERM;");
            process.end().await;
            assert_eq!(process.exit(), Some(Exit::Signal(9)));
            // A second time is nothing.
            process.end().await;
        });
    }
}
