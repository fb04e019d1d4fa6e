//! Progress as values. The library reports, an adapter draws; nothing is drawn from here.

use microagent_types::Digest;

/// A phase of work that may take more than half a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The image is looked up.
    Resolve,
    /// Layers are fetched.
    Download,
    /// The disk is built from the layers.
    Build,
    /// The disk is cloned for the workspace.
    Clone,
    /// The VM boots until the guest is ready.
    Boot,
    /// Files are copied.
    Copy,
    /// A kernel is fetched.
    Kernel,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgressEvent {
    /// A phase begins.
    Begin(Phase),
    /// So much of it is done.
    Advance {
        /// Which phase.
        phase: Phase,
        /// Bytes so far.
        done_bytes: u64,
        /// Bytes in all, when they are known.
        total_bytes: Option<u64>,
    },
    /// So much of one layer is there. It belongs to [`Phase::Download`].
    Layer {
        /// Which.
        digest: Digest,
        /// Bytes so far.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// A phase is over, well or not.
    End(Phase),
    /// Something that a person should know and that stops nothing.
    Note(String),
}

/// Who hears of progress. Called from the thread that does the work, often; it must be quick.
pub trait Progress {
    /// One report.
    fn report(&mut self, event: ProgressEvent);
}

/// Nobody hears.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&mut self, _event: ProgressEvent) {}
}

/// Reports the end of a phase however its scope is left.
pub(crate) struct PhaseScope<'a> {
    progress: &'a mut dyn Progress,
    phase: Phase,
}

impl<'a> PhaseScope<'a> {
    pub(crate) fn begin(progress: &'a mut dyn Progress, phase: Phase) -> Self {
        progress.report(ProgressEvent::Begin(phase));
        Self { progress, phase }
    }
}

impl Drop for PhaseScope<'_> {
    fn drop(&mut self) {
        self.progress.report(ProgressEvent::End(self.phase));
    }
}
